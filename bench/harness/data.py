"""Both stores with the same rows, see ../data.py."""

import contextlib
import json
import os
import random
import sqlite3
import statistics
import time
import uuid

from . import ours, peers, process

STATIONS = 10
# Rows of a page, and how many pages follow each other at the beginning and in the end of the walk.
PAGE, PAGES = 100, 10_000
AT_EACH_END = 50
# Links between events that the lineage has: as many as one answer tells.
LINKS = 1_000
FORMATS = ("ndjson", "csv", "parquet")

COLUMNS = ("so2", "no2", "co", "o3", "pm10", "pm2_5")
FIELDS = [("TimeInstant", "timestamp", True), ("id_entity", "text", True), *((name, "float", False) for name in COLUMNS)]
# JSON is YAML, too.
CONFIG = {
    "datasets": {
        "air": {
            "fields": [{"name": name, "type": kind, "required": required} for name, kind, required in FIELDS],
            "key": ["id_entity", "TimeInstant"],
            "time": "TimeInstant",
        }
    },
    "queues": {"bench": {"types": ["bench.#"]}},
    "views": {"latest": {"path": "/latest", "dataset": "air", "shape": "latest", "group_by": "id_entity", "read": "public"}},
}


class Store:
    """A server of Orderwire over one of the stores, in a folder that may be there already."""

    def __init__(self, folder):
        self.folder = folder

    @contextlib.contextmanager
    def serving(self, orderwire, **environment):
        (self.folder / "orderwire.yaml").write_text(json.dumps(CONFIG), encoding="utf-8")
        command = [orderwire.binary, "up", "--config", self.folder / "orderwire.yaml"]
        command += ["--data", self.folder / "data", "--listen", "127.0.0.1:0"]
        with process.Server(command, self.folder / "log", env={**os.environ, **environment}) as server:
            self.server = server.wait_until(lambda: ours.Running.find(orderwire, server, self.folder))
            yield self

    def command(self, *words):
        """Runs a command of the server's own command line; the seconds that it took."""
        command = [self.server.orderwire.binary, "--server", self.server.url, "--data", self.folder / "data"]
        begun = time.monotonic()
        process.run([*command, *words])
        return time.monotonic() - begun


class Sqlite(Store):
    name = "SQLite"

    def up(self, orderwire):
        return self.serving(orderwire)

    def bytes(self):
        """Of the file that has the tables, with its indexes."""
        return sum(file.stat().st_size for file in (self.folder / "data").glob("store.db*"))

    def count(self):
        """Of all rows, read beside the server: a read of it may not take so long."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/data/store.db?mode=ro", uri=True)) as file:
            return file.execute("SELECT count(*) FROM data_air").fetchone()[0]


class Postgres(Store):
    name = "PostgreSQL"

    @contextlib.contextmanager
    def up(self, orderwire):
        kept = self.folder / "postgres"
        kept.mkdir(mode=0o711, exist_ok=True)
        with peers.PostgreSql(seconds=0, hours=0).node(kept) as (_, address):
            self.address = address
            url = f"postgres://bench@127.0.0.1:{address[address.index('-p') + 1]}/postgres"
            with self.serving(orderwire, ORDERWIRE__STORE__URL=url):
                yield self

    def bytes(self):
        """Of the table, with its indexes."""
        return self.ask("pg_total_relation_size('data.air')")

    def count(self):
        """Of all rows, read beside the server: a read of it may not take so long."""
        return self.ask("count(*) FROM data.air")

    def ask(self, what):
        psql = [process.find("psql"), "-X", "-A", "-t", *self.address, "-d", "postgres"]
        return int(process.run([*psql, "-c", f"SELECT {what}"]))


STORES = {"sqlite": Sqlite, "postgres": Postgres}


class Measured:
    """The figures of one store: for each line of the table those of every run."""

    def __init__(self, name):
        self.name, self.figures = name, {}

    def add(self, line, value):
        self.figures.setdefault(line, []).append(value)

    def cell(self, line):
        values = self.figures.get(line)
        return LINES[line][1](statistics.median(values)) if values else "–"

    def to_json(self):
        return {"store": self.name, "figures": self.figures}


def seconds(value):
    return f"{value:.1f} s" if value >= 10 else f"{1000 * value:,.1f} ms"


def rate(value):
    return f"{value:,.0f}"


LINES = {
    "import": ("import of CSV, rows/s, until recorded", rate),
    "size": ("on disk, with its indexes, bytes a row", rate),
    **{form: (f"export as {form}, rows/s", rate) for form in FORMATS},
    "first": (f"a page of {PAGE} rows by cursor, the first {AT_EACH_END}, median", seconds),
    "deep": (f"the same, the last {AT_EACH_END} of {PAGES:,}", seconds),
    "hour": ("an hour of one station (60 rows) out of all, uncached, median", seconds),
    "count": ("the rows of a day counted (14,400), uncached, median", seconds),
    "latest": ("the view `latest` of ten stations, a miss", seconds),
    "lineage": (f"lineage of a trace with {LINKS:,} links between events", seconds),
}


def table(rows, measured):
    lines = [f"| {rows:,} rows | {' | '.join(one.name for one in measured)} |", "|---|" + "---|" * len(measured)]
    lines += [f"| {title} | {' | '.join(one.cell(line) for one in measured)} |" for line, (title, _) in LINES.items()]
    return "\n".join(lines)


def fill(store, rows, result):
    """As many rows as are wanted, by a file; what the store has of it already is not added again."""
    file = store.folder / "air.csv"
    if not file.exists():
        write(file, rows // STATIONS)
    had = store.count()
    taken = store.command("dataset", "import", "air", file)
    has = store.count()
    if has != rows:
        raise process.Failed(f"{store.folder} holds {has:,} rows, not {rows:,}")
    if not had:
        result.add("import", rows / taken)
    result.add("size", store.bytes() / rows)


def write(file, minutes):
    """So many minutes of all stations; the same rows for the same number."""
    blocks = ["".join(f"@,air-station-{station:02},{values(variant, station)}\n" for station in range(STATIONS)) for variant in range(90)]
    part = file.with_suffix(".part")
    with open(part, "w", encoding="ascii") as out:
        out.write(",".join(name for name, _, _ in FIELDS) + "\n")
        out.writelines(blocks[minute % 90].replace("@", moment(minute)) for minute in range(minutes))
    part.rename(file)


def values(variant, station):
    return ",".join(f"{5 + (variant * 7 + station * 13 + k * 31) % 90 * 0.7:.1f}" for k in range(len(COLUMNS)))


def moment(minute):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_577_836_800 + 60 * minute))


def read(store, rows, runs, forms, result):
    """Everything that reads, exports in these forms, and the lineage."""
    connection = store.server.connect()

    def timed(path):
        begun = time.monotonic()
        answer = store.server.call("GET", path, connection=connection)
        return time.monotonic() - begun, answer

    for _ in range(runs):
        for form in forms:
            file = store.folder / f"out.{form}"
            result.add(form, rows / store.command("dataset", "export", "air", file))
            file.unlink()
        first, deep = walk(store, connection, min(PAGES, rows // PAGE))
        result.add("first", first)
        result.add("deep", deep)
        result.add("hour", statistics.median(hour(timed, rows, n) for n in range(AT_EACH_END)))
        result.add("count", statistics.median(day(timed, rows) for _ in range(5)))
        # A condition that holds of every row makes it another question, which is not in the cache.
        taken, answer = timed(f"/latest?no2=gt.-{time.monotonic_ns()}")
        if answer.count(b"TimeInstant") != STATIONS:
            raise process.Failed(f"the view has not the newest row of each station: {answer[:200]}")
        result.add("latest", taken)
    lineage = f"/v1/traces/{trace_with_links(store, connection)}/lineage"
    # What caused an event is noted behind its acceptance.
    deadline = time.monotonic() + process.PATIENCE_SECONDS
    while links(timed(lineage)[1]) < LINKS and time.monotonic() < deadline:
        time.sleep(0.1)
    for _ in range(runs):
        taken, answer = timed(lineage)
        if links(answer) != LINKS:
            raise process.Failed(f"the lineage has {links(answer)} links between events, not {LINKS}")
        result.add("lineage", taken)
    connection.close()


def links(answer):
    return sum(link["what"].startswith("caused") for link in json.loads(answer)["links"])


def walk(store, connection, pages):
    """Page by page by cursor: the median of the first ones and of the last ones, in seconds."""
    path = f"/rest/air?limit={PAGE}&cursor="
    cursor, taken = "start", []
    for _ in range(pages):
        begun = time.monotonic()
        connection.request("GET", path + cursor, headers={"X-API-Key": store.server.key})
        answer = connection.getresponse()
        body = answer.read()
        taken.append(time.monotonic() - begun)
        if answer.status != 200 or body.count(b"TimeInstant") != PAGE:
            raise process.Failed(f"page {len(taken)} was answered {answer.status}: {body[:200]}")
        cursor = answer.headers["Orderwire-Next"]
        if cursor is None and len(taken) < pages:
            raise process.Failed(f"page {len(taken)} is the last one")
    return statistics.median(taken[:AT_EACH_END]), statistics.median(taken[-AT_EACH_END:])


def hour(timed, rows, n):
    """One hour of one station, another one each time, spread over all."""
    hours = rows // STATIONS // 60
    begin = 60 * (random.randrange(hours))
    path = f"/rest/air?id_entity=eq.air-station-{n % STATIONS:02}&{between(begin, begin + 60)}&order=TimeInstant.asc"
    taken, answer = timed(path)
    if answer.count(b"TimeInstant") != 60:
        raise process.Failed(f"{path} found {answer.count(b'TimeInstant')} rows, not 60")
    return taken


def day(timed, rows):
    """How many rows one day has."""
    days = rows // STATIONS // 1_440
    begin = 1_440 * (random.randrange(days))
    taken, answer = timed(f"/rest/air?select=count()&{between(begin, begin + 1_440)}")
    found = json.loads(answer)[0]["count"]
    if found != 1_440 * STATIONS:
        raise process.Failed(f"a day has {found} rows, not {1_440 * STATIONS}")
    return taken


def between(begin, end):
    return f"TimeInstant=gte.{moment(begin)}&TimeInstant=lt.{moment(end)}"


def trace_with_links(store, connection):
    """An event that led to a thousand others, each on its trace; the trace."""
    event = {"specversion": "1.0", "source": "/bench", "type": "bench.cause", "id": str(uuid.uuid4())}
    call = store.server.call
    said = json.loads(call("POST", "/v1/events", json.dumps(event), "application/cloudevents+json", connection))
    about = {"type": "bench.effect", "causeid": said["event_id"]}
    effects = [{**event, **about, "id": str(uuid.uuid4())} for _ in range(LINKS)]
    call("POST", "/v1/events", json.dumps(effects), "application/cloudevents-batch+json", connection)
    return said["trace_id"]
