"""A data folder with a server on it that can be stopped and started again."""

import contextlib
import json
import sqlite3
import time

from . import ours, process

PRODUCTS = ours.ROOT / "bench/products"
# How long a server may take to look through its releases after a start.
SETTLE_SECONDS = 3_600
DUE = "SELECT count(*) FROM release_turn WHERE at IS NOT NULL"


class Place:
    """One of the two that are compared: the empty one or the filled one."""

    def __init__(self, name, orderwire, folder):
        self.name, self.orderwire, self.folder = name, orderwire, folder
        self.server = None
        self._process = None
        # How many releases were claimed before the start.
        self._claims = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        # JSON is YAML, too.
        config = {"products": {"folders": [str(PRODUCTS)]}}
        (self.folder / "orderwire.yaml").write_text(json.dumps(config), encoding="utf-8")

    def start(self):
        """Starts the server; the milliseconds to the first 200 of /readyz."""
        self._claims = self._claimed()
        port = process.free_port()
        listen = f"127.0.0.1:{port}"
        command = [self.orderwire.binary, "up", "--config", self.folder / "orderwire.yaml"]
        command += ["--data", self.folder / "data", "--listen", listen]
        begun = time.monotonic()
        self._process = process.Server(command, self.folder / "log", look_every_seconds=0.001)
        self._process.wait_until(lambda: process.get_status(port, "/readyz") == 200)
        taken = 1000 * (time.monotonic() - begun)
        self.server = ours.Running(self.orderwire, self._process, self.folder, listen)
        return taken

    def stop(self):
        if self._process is not None:
            self._process.stop()
        self._process = self.server = None

    @property
    def store(self):
        """The file of the store."""
        return self.folder / "data/store.db"

    def settle(self):
        """Waits until no release is due: the seconds. Every release that was handed to its
        target is made due and looked at once after a start."""
        begun = time.monotonic()
        there = "SELECT count(*) FROM release WHERE applied IS NOT NULL AND removed_at IS NULL"
        while self._claimed() < self._claims + self._number(there) or self._number(DUE):
            if time.monotonic() - begun > SETTLE_SECONDS:
                raise process.Failed(f"releases are still due after {SETTLE_SECONDS} s")
            time.sleep(0.2)
        return time.monotonic() - begun

    def _claimed(self):
        """How many releases were claimed so far."""
        return self._number("SELECT coalesce(sum(claims), 0) FROM target_claims") if self.store.exists() else 0

    def _number(self, sql):
        with contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as db:
            return db.execute(sql).fetchone()[0]

    def notes(self):
        """What `note` kept, also of an earlier run."""
        with contextlib.suppress(FileNotFoundError):
            return json.loads((self.folder / "notes.json").read_text(encoding="utf-8"))
        return {}

    def note(self, **notes):
        """Keeps something beside the folder's content: how much of it is filled, say."""
        (self.folder / "notes.json").write_text(json.dumps({**self.notes(), **notes}), encoding="utf-8")


@contextlib.contextmanager
def stopping(*places):
    """Stops the servers in any case."""
    try:
        yield places
    finally:
        for place in places:
            place.stop()
