"""A server that is stopped, killed and started again on the same folder and port."""

import sqlite3
import time

from . import ours, process

# The shortest that `retention.traces` and `retention.idempotency` can be: longer than
# most soaks. What they keep grows in proportion and is taken off (see HISTORY). The
# rows of `load` go after a minute, by when they were recorded: it has no `time`.
CONFIG = """\
retention: {traces: 1h, idempotency: 1h}
queues:
  load: {types: ["load.#"]}
  ledger: {types: ["ledger.#"]}
datasets:
  load:
    fields:
      - {name: at, type: timestamp, required: true}
      - {name: station, type: text}
      - {name: value, type: float}
      - {name: number, type: integer}
    retention: 1m
  ledger:
    fields:
      - {name: number, type: integer, required: true}
views:
  soak: {path: /api/v1/soak, dataset: load, shape: grouped, group_by: station, limit: 500, freshness: 5s}
"""
VIEW = "/api/v1/soak"

FILES = ("queue.db", "store.db")
ROWS_FILE = "store.db"
# Tables of what is kept for longer than the run on purpose, with their indexes: steps
# of traces, ids that are remembered, and the rows by which this checks that none is lost.
HISTORY = {
    "queue.db": {"step", "step_trace", "remembered", "remembered_part", "remembered_filter"},
    "store.db": {"trace_record", "trace_part", "data_ledger"},
}


def check_sqlite():
    """The tables of a file are told apart by a module that not every SQLite has."""
    try:
        sqlite3.connect(":memory:").execute("SELECT count(*) FROM dbstat")
    except sqlite3.OperationalError:
        raise process.Missing("Python's SQLite has no dbstat, by which the sizes of tables are found") from None


class Restartable:
    """Starts the server on one folder and one port, as often as wanted."""

    def __init__(self, orderwire, folder):
        self.orderwire, self.folder = orderwire, folder
        self.port = process.free_port()
        self.starts = 0
        self.server = self.running = None
        (folder / "orderwire.yaml").write_text(CONFIG, encoding="ascii")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.server.stop()

    def start(self):
        """Starts it; returns the seconds until it was ready."""
        begun = time.monotonic()
        # A log each, in which "ready" is looked for.
        self.starts += 1
        command = [self.orderwire.binary, "up", "--config", self.folder / "orderwire.yaml"]
        command += ["--data", self.folder / "data", "--listen", f"127.0.0.1:{self.port}"]
        self.server = process.Server(command, self.folder / f"log-{self.starts}")
        find = lambda: ours.Running.find(self.orderwire, self.server, self.folder)
        self.running = self.server.wait_until(find)
        return round(time.monotonic() - begun, 3)

    def terminate(self):
        """SIGTERM: it drains. Returns the seconds until it was gone."""
        begun = time.monotonic()
        self.server.stop()
        if self.server.process.returncode != 0:
            raise process.Failed(f"the server ended with {self.server.process.returncode}: {self.server.said()}")
        return round(time.monotonic() - begun, 3)

    def kill(self):
        """SIGKILL: what was not durable is gone."""
        self.server.process.kill()
        self.server.stop()

    def content(self):
        """Of each file its bytes by table, after a stop: `{file: {"bytes", "history", "free", "tables", "rows"}}`."""
        found = {}
        for name in FILES:
            file = self.folder / "data" / name
            database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
            try:
                page = database.execute("PRAGMA page_size").fetchone()[0]
                # Of an index the table that it belongs to. Pages and not their bytes: those
                # of a whole table are counted in 32 bits by some versions of SQLite.
                sql = "SELECT s.tbl_name, sum(d.pageno) FROM dbstat d JOIN sqlite_schema s USING (name) WHERE d.aggregate = TRUE GROUP BY 1"
                tables = {table: pages * page for table, pages in database.execute(sql)}
                free = database.execute("PRAGMA freelist_count").fetchone()[0]
                rows = None
                if name == ROWS_FILE:
                    rows = database.execute("SELECT count(*) FROM data_load").fetchone()[0]
            finally:
                database.close()
            history = sum(size for table, size in tables.items() if table in HISTORY[name])
            found[name] = {"bytes": file.stat().st_size, "history": history, "free": free * page, "tables": tables, "rows": rows}
        return found
