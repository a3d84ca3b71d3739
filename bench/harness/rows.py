"""The rows: the figures that Orderwire is to reach on its embedded storage."""

import json
import re
import time

from . import orders, ours, peers, process
from .figure import Figure, Row, at_least, at_most

DURABLE = "202 after the commit was synchronised to the device"
# Rows that the read of 100 rows finds them among: 10 stations, so many hours.
READ_HOURS = 1_000
# How often a start is measured, and how many events wait.
STARTS = 5
WAITING = 1_000_000
BATCH = 10_000


def rows(orderwire, client):
    """Every row, in the order of the table."""
    measure = Measure(orderwire, client)
    return [
        Row(
            "events",
            "durable ingest of single events over HTTP, 64 connections, 512 bytes; the peer with 64 in flight",
            "events/s",
            measure.events,
            DURABLE,
            beside=(
                (peers.RabbitMq(client, 64), at_least(1.5)),
                (peers.Nats(client, 64), None),
                (peers.Redis(client, 64), None),
            ),
        ),
        Row(
            "gateway",
            "the same through the gateway in front of RabbitMQ; the peer is the plain client straight to RabbitMQ",
            "events/s",
            measure.gateway,
            "202 after RabbitMQ confirmed, from a quorum queue of one node",
            beside=((peers.RabbitMq(client, 64), at_least(0.7)),),
        ),
        Row(
            "gateway-nats",
            "the same through the gateway in front of NATS JetStream; the peer is the plain client straight to NATS",
            "events/s",
            measure.gateway_nats,
            "202 after NATS confirmed, from a stream on files of one server",
            beside=((peers.Nats(client, 64), None),),
        ),
        Row(
            "rows",
            "durable ingest of rows, NDJSON of 500, 8 connections; the peer with messages of 512 bytes, 512 in flight",
            "rows/s",
            measure.rows,
            DURABLE,
            beside=((peers.RabbitMq(client, 512), at_least(3.0)),),
        ),
        Row(
            "view",
            "cached view of 300 kB, 64 connections; the peer with the same bytes from a file, same generator",
            "reads/s",
            measure.view,
            beside=((peers.Nginx(orderwire), at_least(1.0)),),
        ),
        Row(
            "rest",
            "uncached read of 100 rows of 10,000 over /rest, 64 connections; the peer with the same SQL, prepared",
            "reads/s",
            measure.rest,
            beside=((peers.PostgreSql(orderwire.seconds, READ_HOURS), None),),
            note="the figure wanted, 0.6 ×, is for rows in PostgreSQL; these are in the embedded store",
        ),
        Row(
            "rest-pg",
            "the same from a PostgreSQL of its own, with as many connections; the peer with the same SQL, prepared",
            "reads/s",
            measure.rest_postgres,
            beside=((peers.PostgreSql(orderwire.seconds, READ_HOURS), at_least(0.6)),),
        ),
        Row(
            "visible",
            "event accepted to row visible, p99, at 1,000 rows/s in single requests",
            "ms",
            measure.visible,
            wanted=at_most(50, "ms"),
            note="the upper bound of the bucket that holds the 99th of 100 batches, each by its oldest event",
        ),
        Row(
            "orders",
            "order of a new release accepted to manifests applied, p99, real processes as target",
            "ms",
            measure.orders,
            wanted=at_most(1000, "ms"),
            note="the figure wanted is for a Kubernetes API server, which is no target yet",
        ),
        Row("idle", "memory of `up`, idle", "MiB", measure.idle, wanted=at_most(40, "MiB")),
        Row(
            "waiting",
            "memory of `up` with 1,000,000 waiting events of 448 bytes and 1,000 clients",
            "MiB",
            measure.waiting,
            wanted=at_most(150, "MiB"),
        ),
        Row("binary", "size of the binary", "MiB", measure.binary, wanted=at_most(40, "MiB")),
        Row(
            "start",
            "cold start on an empty folder to the first 200 of /readyz",
            "ms",
            measure.start,
            wanted=at_most(300, "ms"),
        ),
    ]


class Measure:
    """How ours is measured, row by row."""

    def __init__(self, orderwire, client):
        self.orderwire, self.client = orderwire, client

    def events(self):
        return self._rate(ours.EVENTS)

    def gateway(self):
        with peers.RabbitMq(self.client, 64).node() as url:
            return self._through(url)

    def gateway_nats(self):
        with peers.Nats(self.client, 64).node() as url:
            return self._through(url)

    def _through(self, broker):
        with process.folder() as folder:
            # Known before the start, so that it is at the broker, too.
            settings = folder / "orderwire.yaml"
            settings.write_text("queues: {load: {types: ['load.#']}}\n", encoding="ascii")
            with self.orderwire.up("--config", settings, ORDERWIRE__BROKER__URL=broker) as server:
                server.wait_for_broker()
                return rate(server.load(ours.EVENTS))

    def rows(self):
        return self._rate(ours.ROWS)

    def _rate(self, words):
        with self.orderwire.up() as server:
            return rate(server.load(words))

    def view(self):
        with self.orderwire.up("--config", ours.EXAMPLE) as server:
            server.import_air(hours=221)
            server.call("GET", ours.VIEW)
            if not server.call("GET", ours.VIEW).endswith(b'"cache": true}'):
                raise process.Failed("the view does not come from the cache")
            return rate(server.load([*ours.READ, ours.VIEW]))

    def rest(self):
        return self._rest()

    def rest_postgres(self):
        with peers.PostgreSql(self.orderwire.seconds, READ_HOURS).node() as (_, address):
            store = f"postgres://bench@127.0.0.1:{address[address.index('-p') + 1]}/postgres"
            # Half of them are for queries: as many as the peer has.
            return self._rest(ORDERWIRE__STORE__URL=store, ORDERWIRE__STORE__CONNECTIONS="128")

    def _rest(self, **environment):
        with self.orderwire.up("--config", ours.EXAMPLE, **environment) as server:
            server.import_air(hours=READ_HOURS)
            answer = json.loads(server.call("GET", ours.REST.replace("{i}", "0")))
            if len(answer) != 100:
                raise process.Failed(f"a read found {len(answer)} rows, not 100")
            return rate(server.load([*ours.READ_UNCACHED, ours.REST]))

    def visible(self):
        with self.orderwire.up() as server:
            figures, command = server.load(ours.ROW_RATE)
            if figures["units_per_second"] < 0.99 * ours.RATE:
                raise process.Failed(f"only {figures['units_per_second']:.0f} rows/s were sent")
            buckets = histogram(server.call("GET", "/metrics").decode(), "orderwire_recorder_lag_seconds")
        bound, batches = quantile(buckets, 0.99)
        shares = {f"within {1000 * le:g} ms": round(count / batches, 5) for le, count in buckets}
        return Figure(1000 * bound, {"batches": batches, "shares": shares, "load": figures}, command)

    def orders(self):
        with self.orderwire.up() as server:
            found = orders.measure(server)
        how = f"POST /v1/orders: {orders.ORDERS} created, updated and removed, {orders.AT_ONCE} at once"
        return Figure(found["create"]["applied_ms"]["p99"], found, how)

    def idle(self):
        with self.orderwire.up() as server:
            # What the start itself needed is given back by then.
            time.sleep(3)
            return Figure(server.memory_mib(), {}, "orderwire up; VmRSS after 3 s")

    def waiting(self):
        with self.orderwire.up() as server:
            server.call("POST", "/v1/queues", json.dumps({"name": "load", "types": ["load.#"]}))
            begun = time.monotonic()
            body = "\n".join(json.dumps({"client": f"c{n % 1000}", "p": "x" * 400}) for n in range(BATCH))
            connection = server.connect()
            for _ in range(WAITING // BATCH):
                server.call("POST", "/v1/events/load.x", body, "application/x-ndjson", connection)
            connection.close()
            taken = WAITING / (time.monotonic() - begun)
            state = json.loads(server.call("GET", "/v1/queues/load"))
            if state["ready"] != WAITING:
                raise process.Failed(f"{state['ready']} events wait instead of {WAITING}")
            details = {"events_per_second": round(taken), "settings": "NDJSON of 10,000, one connection"}
            return Figure(server.memory_mib(), details, "POST /v1/events/load.x, 100 times 10,000 lines; VmRSS")

    def binary(self):
        return Figure(self.orderwire.binary.stat().st_size / 2**20, {}, f"ls -l {self.orderwire.binary.name}")

    def start(self):
        taken = sorted(self._one_start() for _ in range(STARTS))
        return Figure(taken[-1], {"each_ms": taken}, f"orderwire up; the slowest of {STARTS}")

    def _one_start(self):
        with process.folder() as folder:
            port = process.free_port()
            begun = time.monotonic()
            command = [self.orderwire.binary, "up", "--data", folder / "data", "--listen", f"127.0.0.1:{port}"]
            with process.Server(command, folder / "log", look_every_seconds=0.001) as server:
                server.wait_until(lambda: process.get_status(port, "/readyz") == 200)
                return round(1000 * (time.monotonic() - begun), 1)


def rate(measured):
    figures, command = measured
    return Figure(figures["units_per_second"], figures, command)


def histogram(metrics, name):
    """The buckets of a histogram, all labels together: (bound, count up to it), ascending."""
    buckets = {}
    for labels, count in re.findall(rf"^{name}_bucket{{(.*)}} (\S+)$", metrics, re.MULTILINE):
        bound = float(re.search(r'le="([^"]+)"', labels).group(1))
        buckets[bound] = buckets.get(bound, 0) + int(float(count))
    return sorted(buckets.items())


def quantile(buckets, share):
    """The bound below which at least this share is, and how many there are."""
    if not buckets or not buckets[-1][1]:
        raise process.Failed("nothing was recorded, so there is no latency")
    total = buckets[-1][1]
    return next(bound for bound, count in buckets if count >= share * total), total
