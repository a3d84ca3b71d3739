"""What is measured of an empty and of a filled server, in the same way."""

import dataclasses
import json
import re
import statistics
import time
import uuid

from . import ours, process
from .figure import Figure
from .orders import moment, quantiles
from .report import spread

# By how much a figure may be worse than that of the empty server.
TOLERANCE = 0.2
# The most memory that is wanted of a server with much in it, in MiB.
MEMORY_MIB = 150
# Orders of one measurement, and the releases that get ready in one.
ORDERS = 200
# Batches of rows that are recorded in one measurement.
BATCHES = 20

PUBLISH = ["single", "--connections", "64", "--payload", "512", "--warm-up", "1"]
# Each with an id of its own, which is looked up and remembered.
PUBLISH_IDS = [*PUBLISH, "--cloudevents"]
# Leases are small, so that those of the empty server are full, too.
LEASE = ["consume", "--connections", "64", "--batch", "100", "--payload", "512", "--prefill", "200000"]
# The clients take turns: such a lease has one delivery of each of a hundred clients.
SPREAD = [*LEASE, "--clients", "100", "--keys", "1"]
READY = ["order", "--connections", "4"]
# The newest rows of one station; {i} makes every answer another one.
READ_PATH = "/rest/reading?station=eq.station-042&value=gt.-{i}&order=at.desc&limit=100"
READ = ["read-uncached", "--connections", "64", "--warm-up", "1", "--path", READ_PATH]

READING = {
    "fields": [
        {"name": "at", "type": "timestamp", "required": True},
        {"name": "station", "type": "text", "required": True},
        {"name": "value", "type": "float"},
    ],
    "key": ["station", "at"],
    "time": "at",
}
STATIONS, MOMENTS = 100, 100
ROWS = STATIONS * MOMENTS
NDJSON = "application/x-ndjson"
EVENTS = 10_000


@dataclasses.dataclass(frozen=True)
class Cost:
    """A figure that size is not to change."""

    name: str
    title: str
    unit: str
    # Measures a place: a Figure. None where it is taken on the way.
    measure: object = None
    # Whether more is better.
    rate: bool = False
    # The most that it may be, instead of a ratio.
    bound: float = None
    # Whether anything is wanted at all.
    wanted: bool = True

    def verdict(self, filled, ratio):
        """Whether the filled server's figure is good enough, by the medians; None where
        nothing is wanted."""
        if not self.wanted:
            return None
        if self.bound is not None:
            return filled <= self.bound
        return ratio >= 1 - TOLERANCE if self.rate else ratio <= 1 + TOLERANCE

    def words(self):
        if not self.wanted:
            return "-"
        return f"at most {self.bound:g} {self.unit}" if self.bound is not None else f"within {TOLERANCE:.0%}"


START = Cost("start", "start to the first 200 of /readyz", "ms")
SETTLE = Cost("settle", "after a start, until every release was looked at", "s", wanted=False)
IDLE = Cost("memory", "VmRSS after the start", "MiB", bound=MEMORY_MIB)
WORKED = Cost("worked", "VmRSS after all measurements, caches included", "MiB")


def rate(place, words, *flags):
    figures, command = place.orderwire.load(words, place.server.url, "--data", place.folder / "data", *flags)
    return Figure(figures["units_per_second"], figures, command)


def publish(place):
    return rate(place, PUBLISH)


def publish_ids(place):
    return rate(place, PUBLISH_IDS)


def lease(place):
    return rate(place, LEASE)


def lease_spread(place):
    return rate(place, SPREAD)


def read(place):
    return rate(place, READ, "--client", "default")


def read_all(place):
    return rate(place, READ)


def ready(place):
    figure = rate(place, READY)
    place.settle()
    return figure


def order(place):
    """POST /v1/orders, one after the other: the median. Their plans fail, so that nothing is started."""
    run, taken = uuid.uuid4().hex[:8], []
    connection = place.server.connect()
    for n in range(ORDERS):
        body = {"product": "parked", "action": "create", "parameters": {"how": "nothing"}}
        body = json.dumps({**body, "client": f"client-{n % 20:05}", "name": f"order-{run}-{n}"})
        begun = time.monotonic()
        place.server.call("POST", "/v1/orders", body, connection=connection)
        taken.append(1000 * (time.monotonic() - begun))
    connection.close()
    place.settle()
    found = quantiles(taken)
    return Figure(found["p50"], found, f"POST /v1/orders, {ORDERS} one after the other, p50")


def first(place):
    """An order of a client that has releases, while the server still looks through all of
    them: until it is ready."""
    release = {"client": "client-00001", "product": "broken", "name": uuid.uuid4().hex[:8]}
    found = follow(place, {**release, "action": "create", "parameters": {"how": "works"}}, "ready")
    follow(place, {**release, "action": "remove"}, "removed")
    return Figure(found, {}, "POST /v1/orders right after a start, by its journal")


def follow(place, body, wanted):
    """Orders and waits for the end; the seconds until then, by the server's clock."""
    path = json.loads(place.server.call("POST", "/v1/orders", json.dumps(body)))["status_url"]
    begun = time.monotonic()
    while True:
        order = json.loads(place.server.call("GET", path))
        if order["state"] == wanted:
            return (moment(order["updated_at"]) - moment(order["created_at"])).total_seconds()
        if time.monotonic() - begun > 900 or order["state"] in ("failed", "rolled_back"):
            raise process.Failed(f"an order did not get {wanted}: {order}")
        time.sleep(0.1)


def record(place):
    """Rows into the dataset that is filled, until all of them are recorded."""
    begun = time.monotonic()
    post_rows(place, BATCHES)
    taken = time.monotonic() - begun
    return Figure(BATCHES * ROWS / taken, {"seconds": taken}, f"{BATCHES} times {ROWS} rows, one connection")


def stream(place):
    """Leases and acks of a stream by one consumer."""
    call, connection = place.server.call, place.server.connect()
    # So much that the empty one is not drained.
    seconds, wanted = place.orderwire.seconds, 60_000 * place.orderwire.seconds
    while json.loads(call("GET", "/v1/queues/flow", connection=connection))["ready"] < wanted:
        call("POST", "/v1/events/flow.event", events(), NDJSON, connection)
    count, begun = 0, time.monotonic()
    while time.monotonic() - begun < seconds:
        leased = call("POST", "/v1/queues/flow/lease", '{"max": 500}', connection=connection)
        ids = re.findall(rb'"delivery_id":"([^"]+)"', leased)
        if not ids:
            raise process.Failed("the stream is empty too soon")
        body = b'{"delivery_ids":["' + b'","'.join(ids) + b'"]}'
        call("POST", "/v1/queues/flow/ack", body, connection=connection)
        count += len(ids)
    taken = time.monotonic() - begun
    connection.close()
    return Figure(count / taken, {"deliveries": count}, "lease of 500 and ack, one consumer")


def events(count=EVENTS, client=None):
    """Lines of a batch, of one client or of `client(n)`."""
    name = client or (lambda n: "default")
    return "\n".join(json.dumps({"client": name(n), "p": "x" * 400}) for n in range(count))


# What one moment of all stations is, ten of them; @ is the moment.
_MOMENTS = [
    "\n".join(
        f'{{"at":"@","station":"station-{station:03}","value":{(station * 13 + variant * 7) % 900 / 10}}}'
        for station in range(STATIONS)
    )
    for variant in range(10)
]


def row_batch(first):
    """Rows of all stations from a moment on, one moment a minute."""
    parts = []
    for n in range(first, first + MOMENTS):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_577_836_800 + 60 * n))
        parts.append(_MOMENTS[n % 10].replace("@", at))
    return "\n".join(parts)


def post_rows(place, batches, say=lambda done: None):
    """So many further batches of rows into `reading`; returns when they are recorded."""
    connection = place.server.connect()
    for done in range(batches):
        # Noted first: a batch that may have been sent is not sent again, as rows of the
        # same key would take the place of those.
        moment = place.notes().get("moment", 0)
        place.note(moment=moment + MOMENTS)
        place.server.call("POST", "/v1/datasets/reading/rows", row_batch(moment), NDJSON, connection)
        say(done + 1)
    recorded(place, connection)
    connection.close()


def recorded(place, connection, queue="data", pause=0.01):
    """Waits until nothing is left of what a role of the server works through, for as long
    as that gets less."""
    least, since = None, time.monotonic()
    while True:
        state = json.loads(place.server.call("GET", f"/v1/queues/{queue}", connection=connection))
        left = state["ready"] + state["in_flight"] + state["delayed"]
        if not left:
            return
        if least is None or left < least:
            least, since = left, time.monotonic()
        if time.monotonic() - since > 120:
            raise process.Failed(f"queue {queue} is not worked through: {state}")
        time.sleep(pause)


def prepare(place):
    """What both servers have before anything is measured or filled."""
    if place.notes().get("prepared"):
        return
    call = place.server.call
    call("PUT", "/v1/datasets/reading", json.dumps(READING))
    call("POST", "/v1/queues", json.dumps({"name": "load", "kind": "task", "types": ["load.#"]}))
    post_rows(place, 1)
    place.note(prepared=True)


FIRST = Cost("first", "an order right after a start, until it is ready, real process", "s", first)
PUBLISHING = Cost("publish", "single events, 64 connections, 512 bytes", "events/s", publish, rate=True)
PUBLISHING_IDS = Cost("publish-ids", "the same with ids", "events/s", publish_ids, rate=True)
LEASING = Cost("lease", "lease of 100 and ack, 64 connections", "deliveries/s", lease, rate=True)
SPREADING = Cost("lease-spread", "the same, of a hundred clients at a time", "deliveries/s", lease_spread, rate=True)
STREAMING = Cost("lease", "lease of 500 of a stream and ack, one consumer", "deliveries/s", stream, rate=True)
ORDERING = Cost("order", "POST /v1/orders, p50", "ms", order)
READYING = Cost("ready", "orders ready and removed again, real processes, 4 at once", "orders/s", ready, rate=True)
READING_ONE = Cost("read", "100 rows over /rest, uncached, for one client", "reads/s", read, rate=True)
READING_ALL = Cost("read-all", "the same with a key of all clients", "reads/s", read_all, rate=True)
RECORDING = Cost("record", "rows, batches of 10,000, until recorded", "rows/s", record, rate=True)

COMMON = (PUBLISHING, LEASING, ORDERING, READING_ONE, READING_ALL)


class Compared:
    """The figures of one size: those of both places, run by run."""

    EMPTY, FILLED = "empty", "filled"

    def __init__(self, size):
        self.size = size
        self.figures = {}
        self.problem = None

    def add(self, cost, place, figure):
        self.figures.setdefault(cost, {}).setdefault(place.name, []).append(figure)

    def values(self, cost, name):
        return [figure.value for figure in self.figures[cost].get(name, [])]

    def ratios(self, cost):
        """Filled by empty, of the same run: both saw the same noise."""
        pairs = zip(self.values(cost, self.EMPTY), self.values(cost, self.FILLED))
        return [filled / empty for empty, filled in pairs if empty]

    def lines(self):
        for cost in self.figures:
            empty, filled = self.values(cost, self.EMPTY), self.values(cost, self.FILLED)
            if not empty or not filled:
                continue
            ratios = self.ratios(cost)
            good = self.good(cost)
            verdict = {True: "yes", False: "NO", None: "-"}[good]
            ratio = spread(ratios, 2) if ratios else "-"
            cells = (self.size.name, cost.title, f"{spread(empty)} {cost.unit}", f"{spread(filled)} {cost.unit}")
            yield (*cells, ratio, cost.words(), verdict)

    def good(self, cost):
        """Whether it is as wanted; None where nothing is wanted, or not both were measured."""
        filled, ratio = middle(self.values(cost, self.FILLED)), middle(self.ratios(cost))
        return None if filled is None or ratio is None else cost.verdict(filled, ratio)

    def is_flat(self):
        return self.problem is None and all(self.good(cost) is not False for cost in self.figures)

    def to_json(self):
        costs = []
        for cost, of in self.figures.items():
            runs = {name: [{"value": f.value, **f.details} for f in figures] for name, figures in of.items()}
            commands = sorted({figure.command for figures in of.values() for figure in figures})
            about = {"name": cost.name, "title": cost.title, "unit": cost.unit, "wanted": cost.words()}
            costs.append({**about, "commands": commands, "ratios": self.ratios(cost), "reached": self.good(cost), **runs})
        about = {"name": self.size.name, "title": self.size.title, "count": self.size.count}
        return {**about, "problem": self.problem, "costs": costs}


def middle(values):
    return statistics.median(values) if values else None


def table(compared):
    lines = ["| size | figure | empty | filled | ratio (median, lowest to highest) | wanted | reached |"]
    lines.append("|---|---|---|---|---|---|---|")
    lines += [f"| {' | '.join(line)} |" for one in compared for line in one.lines()]
    problems = [f"- NOT MEASURED to the end: {one.size.name}: {one.problem}" for one in compared if one.problem]
    return "\n".join(lines + ([""] + problems if problems else []))
