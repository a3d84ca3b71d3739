"""Orderwire as it is measured: one binary, each time on an empty folder."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import time

from . import process

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/air-quality/orderwire.yaml"

# The words of `orderwire load` for each row. Everything that depends on its
# command line is here.
EVENTS = ["single", "--connections", "64", "--payload", "512"]
ROWS = ["rows", "--connections", "8", "--batch", "500"]
RATE = 1000
ROW_RATE = ["row", "--connections", "64", "--rate", str(RATE)]
READ = ["read", "--connections", "64", "--path"]
READ_UNCACHED = ["read-uncached", "--connections", "64", "--path"]
WITHOUT_KEY = ["--no-key"]

VIEW = "/api/v1/measures/air"
# {i} is another number in each request, so that no answer is in the cache.
REST = (
    "/rest/air?select=TimeInstant,id_entity,so2,no2,co,o3,pm10,pm2_5"
    "&id_entity=eq.air-station-03&no2=gt.-{i}&order=TimeInstant.desc&limit=100"
)


class Orderwire:
    """A binary, and how to start and ask it."""

    def __init__(self, binary, seconds):
        self.binary = pathlib.Path(binary)
        self.seconds = seconds

    @contextlib.contextmanager
    def up(self, *flags, **environment):
        """A server on an empty folder and a free port, with these variables beside its environment."""
        with process.folder() as folder:
            command = [self.binary, "up", *flags, "--data", folder / "data", "--listen", "127.0.0.1:0"]
            environment = {**os.environ, **environment} if environment else None
            with process.Server(command, folder / "log", env=environment) as server:
                yield server.wait_until(lambda: Running.find(self, server, folder))

    def load(self, words, url, *flags):
        """Runs `orderwire load`; its figures and the words that were used."""
        words = [*words, "--duration", str(self.seconds)]
        command = [self.binary, "--server", url, *flags, "--output", "json", "load", *words]
        figures = json.loads(process.run(command))
        command = f"orderwire load {process.show(words)}"
        if figures.get("errors"):
            raise process.Failed(f"{command} had errors, so its figure means nothing: {figures['errors']}")
        return figures, command


class Running:
    """A server that is ready."""

    def __init__(self, orderwire, server, folder, listen):
        self.orderwire, self.folder, self.listen = orderwire, folder, listen
        self.url = f"http://{listen}"
        self.pid = server.process.pid
        self.key = (folder / "data/admin.key").read_text(encoding="ascii").strip()

    @classmethod
    def find(cls, orderwire, server, folder):
        """The server, once it has said that it is ready."""
        said = re.search(r'\{.*"msg":"ready".*\}', server.log.read_text())
        return cls(orderwire, server, folder, json.loads(said.group())["listen"]) if said else None

    def wait_for_broker(self):
        """Until the broker is connected, and nothing waits for it any more."""
        deadline = time.monotonic() + process.PATIENCE_SECONDS
        while time.monotonic() < deadline:
            parts = json.loads(self.call("GET", "/readyz"))["components"]
            broker = next(part for part in parts if part["name"] == "broker")
            if broker["ok"] and "detail" not in broker:
                return
            time.sleep(0.1)
        raise process.Failed(f"the broker was not reached: {broker}")

    def load(self, words):
        return self.orderwire.load(words, self.url, "--data", self.folder / "data")

    def import_air(self, hours):
        """Ten stations, so many hours; returns the CSV file."""
        file = self.folder / "air.csv"
        file.write_text(air_csv(hours), encoding="ascii")
        command = [self.orderwire.binary, "--server", self.url, "--data", self.folder / "data"]
        process.run([*command, "dataset", "import", "air", file, "--yes"])
        return file

    def connect(self):
        return http.client.HTTPConnection(self.listen, timeout=60)

    def call(self, method, path, body=None, content_type="application/json", connection=None, client=None):
        """The body of an answer that must be a success."""
        connection = connection or self.connect()
        headers = {"X-API-Key": self.key, "Content-Type": content_type}
        connection.request(method, path, body, {**headers, **({"Orderwire-Client": client} if client else {})})
        response = connection.getresponse()
        text = response.read()
        if not 200 <= response.status < 300:
            raise process.Failed(f"{method} {path} was answered {response.status}: {text[:300].decode(errors='replace')}")
        return text

    def memory_mib(self):
        """What is resident, by the kernel's account."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024


def air_csv(hours):
    """Rows of the dataset of examples/air-quality; 221 hours are a view of 300 kB."""
    lines = ["TimeInstant,id_entity,so2,no2,co,o3,pm10,pm2_5"]
    for hour in range(hours):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_793_491_200 + 3_600 * hour))
        for station in range(10):
            values = (round(5 + (hour * 7 + station * 13 + k * 31) % 90 * 0.7, 1) for k in range(6))
            lines.append(",".join([at, f"air-station-{station:02}", *map(str, values)]))
    return "\n".join(lines) + "\n"


def build():
    """Builds the release binary; where it is."""
    command = ["cargo", "build", "--release", "--bin", "orderwire", "--message-format=json-render-diagnostics"]
    return built(process.run(command, cwd=ROOT), "orderwire")


def built(messages, name):
    """The path of an executable among cargo's messages."""
    for message in map(json.loads, messages.splitlines()):
        if message.get("executable") and message["target"]["name"] == name:
            return pathlib.Path(message["executable"])
    raise process.Failed(f"cargo named no executable called {name}")
