"""The sizes, and how a server gets them. What was filled is noted as it goes, so that
an interrupted fill goes on where it was."""

import concurrent.futures
import dataclasses
import json
import time

from . import costs, multiply, process
from .costs import EVENTS, NDJSON

AT_ONCE = 4
# More than the generator consumes by one connection in the tenth of a second that a run
# of it has at least.
SPARE = 2_000
# The release that is copied.
PARKED = "parked"


@dataclasses.dataclass(frozen=True)
class Size:
    name: str
    title: str
    count: int
    # What is in the server then, and the disk that it takes at full size.
    note: str
    # Fills a place to `count`, telling `say(done)`.
    fill: object
    costs: tuple
    # Measured once, right after a start.
    after_start: tuple = ()
    # What the empty server needs as well to be measured.
    prepare: object = None

    def scaled(self, scale):
        return dataclasses.replace(self, count=max(1, round(self.count * scale)))


def sizes():
    """Every size, in the order of the table."""
    common = costs.COMMON
    streaming = (costs.PUBLISHING, costs.STREAMING, *common[2:])
    return [
        Size(
            "task",
            "events waiting in the task queue that is published to and leased from",
            10_000_000,
            "512 bytes each, with ids, 64 lanes; 10 GiB",
            task,
            (*common, costs.PUBLISHING_IDS),
        ),
        Size(
            "stream",
            "events waiting in a stream that is published to and leased from",
            10_000_000,
            "415 bytes each; 10 GiB",
            stream,
            streaming,
            prepare=flow,
        ),
        Size(
            "clients",
            "clients, each with 100 events waiting in the queue that is leased from, and 10 rows in the dataset",
            10_000,
            "1,000,000 events, 100,000 rows; 1 GiB",
            clients,
            (*common, costs.SPREADING, costs.READYING),
        ),
        Size("queues", "queues, each with 100 events waiting", 1_000, "100,000 events", queues, common),
        Size(
            "releases",
            "releases of up to 10,000 clients, frozen",
            100_000,
            "made from one real release by copying its rows; 0.2 GiB",
            releases,
            (*common, costs.READYING),
            (costs.FIRST,),
        ),
        Size(
            "rows",
            "rows in the dataset that is written to and read from",
            50_000_000,
            "100 stations, key of station and time; 11 GiB",
            rows,
            (*common, costs.RECORDING),
        ),
    ]


def task(place, count, say):
    """By the generator: what it fills the empty server's queue with, only more."""
    step = max(1, min(250_000, count // 4))
    done = ready(place, "load")
    while done < count:
        words = ["consume", "--connections", "1", "--keys", "64", "--batch", "1", "--payload", "512"]
        words += ["--prefill", str(min(count, done + step) + SPARE)]
        process.run(
            [place.orderwire.binary, "--server", place.server.url, "--data", place.folder / "data"]
            + ["--output", "json", "load", *words, "--duration", "0.1"]
        )
        done = min(count, ready(place, "load"))
        say(done)


def flow(place):
    """The stream. What `load` publishes goes to it, too."""
    queue = {"name": "flow", "kind": "stream", "types": ["flow.#", "load.#"]}
    place.server.call("POST", "/v1/queues", json.dumps(queue))


def stream(place, count, say):
    flow(place)
    connection = place.server.connect()
    done = ready(place, "flow")
    body = costs.events()
    while done < count:
        batch = min(EVENTS, count - done)
        body = body if batch == EVENTS else costs.events(batch)
        place.server.call("POST", "/v1/events/flow.event", body, NDJSON, connection)
        done += batch
        say(done)
    connection.close()


def clients(place, count, say):
    """A thousand at a time: rows, which announce them, and events."""
    done = place.notes().get("clients", 0)
    connection = place.server.connect()
    while done < count:
        some = [f"client-{n:05}" for n in range(done, min(count, done + 1_000))]
        in_parts(some, lambda part: of_clients(place, part))
        wait = costs.events(10 * len(some), lambda n: some[n % len(some)])
        for _ in range(10):
            place.server.call("POST", "/v1/events/load.event", wait, NDJSON, connection)
        costs.recorded(place, connection, "clients")
        costs.recorded(place, connection)
        done += len(some)
        place.note(clients=done)
        say(done)
    connection.close()


def of_clients(place, names):
    connection = place.server.connect()
    # Of other stations than the one that is read, so that the answers stay the same.
    row = {"station": "station-of-a-client", "value": 1}
    body = "\n".join(json.dumps({"at": f"2020-01-01T00:{n:02}:00Z", **row}) for n in range(10))
    for name in names:
        place.server.call("POST", "/v1/datasets/reading/rows", body, NDJSON, connection, client=name)
    connection.close()


def queues(place, count, say):
    done = place.notes().get("queues", 0)
    body = costs.events(100)
    connection = place.server.connect()
    while done < count:
        queue = {"name": f"shop-{done:04}", "types": [f"shop.s{done:04}.#"]}
        place.server.call("POST", "/v1/queues", json.dumps(queue), connection=connection)
        place.server.call("POST", f"/v1/events/shop.s{done:04}.paid", body, NDJSON, connection)
        done += 1
        place.note(queues=done)
        say(done)
    connection.close()


def releases(place, count, say):
    """One real release, ordered over the API, then its copies."""
    notes = place.notes()
    if notes.get("releases"):
        return
    order = {"client": "client-00000", "product": "parked", "name": PARKED, "action": "create"}
    path = json.loads(place.server.call("POST", "/v1/orders", json.dumps(order)))["status_url"]
    place.server.call("GET", f"{path}/watch")
    release = json.loads(place.server.call("GET", "/v1/releases?limit=1"))["items"][0]
    if release["state"] != "frozen" or release["name"] != PARKED:
        raise process.Failed(f"the release to copy is not frozen: {release}")
    connection = place.server.connect()
    costs.recorded(place, connection, "clients")
    connection.close()
    # As it is after a start that found nothing of it, so that further starts change nothing.
    place.stop()
    place.start()
    place.settle()
    place.stop()
    multiply.multiply(place.store, PARKED, count - 1, max(1, count // 10))
    place.note(releases=True)
    place.start()
    say(count)
    there = json.loads(place.server.call("GET", "/v1/releases?limit=1000"))["items"]
    states = {release["state"] for release in there}
    if len(there) != min(count, 1000) or states != {"frozen"}:
        raise process.Failed(f"{len(there)} copies are there, with the states {states}")


def rows(place, count, say):
    batches = count // costs.ROWS
    there = place.notes().get("moment", 0) // costs.MOMENTS
    if there >= batches:
        return
    costs.post_rows(place, batches - there, lambda done: say((there + done) * costs.ROWS))


def ready(place, queue):
    return json.loads(place.server.call("GET", f"/v1/queues/{queue}"))["ready"]


def in_parts(items, work):
    """In as many threads as there are parts."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, [items[n::AT_ONCE] for n in range(AT_ONCE)]))


class Progress:
    """A line now and then about a fill."""

    def __init__(self, size, say):
        self.size, self.say = size, say
        self.begun = self.told = time.monotonic()
        self.first = None

    def __call__(self, done):
        now = time.monotonic()
        if self.first is None:
            self.first = done
        if now - self.told < 5 and done < self.size.count:
            return
        self.told = now
        rate = (done - self.first) / max(0.001, now - self.begun)
        self.say(f"{self.size.name}: {done:,} of {self.size.count:,}, {rate:,.0f} a second")
