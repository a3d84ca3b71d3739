"""Events and rows with numbers, by which it is known whether one was lost.

A slow producer that does it right: it names each event and each request of a row, and
repeats what was not answered with a success until it is. A consumer notes what it gets.
"""

import collections
import http.client
import json
import threading
import time

PAUSE_SECONDS = 0.05
WAIT_MS = 500


class Ledger:
    """What was accepted, and what came out."""

    def __init__(self, port, key):
        self.port, self.key = port, key
        self.accepted = {"event": 0, "row": 0}
        self.seen = collections.Counter()
        # What was refused or got no answer, by word, and was repeated.
        self.refusals = collections.Counter()
        # (when, seconds) in which nothing was accepted.
        self.outages = []
        self.problem = None
        self._over, self._done = threading.Event(), threading.Event()
        self._producer = threading.Thread(target=self._run, args=(self._produce,), daemon=True)
        self._consumer = threading.Thread(target=self._run, args=(self._consume,), daemon=True)

    def start(self):
        self._producer.start()
        self._consumer.start()

    def end_producing(self, seconds=30):
        self._over.set()
        self._producer.join(seconds)

    def end(self, seconds=30):
        """Waits until everything was consumed, or for so long."""
        patience = time.monotonic() + seconds
        while len(self.seen) < self.accepted["event"] and time.monotonic() < patience and self.problem is None:
            time.sleep(0.1)
        self._done.set()
        self._consumer.join(10)

    def stop(self):
        self._over.set()
        self._done.set()

    def check(self, running, seconds=30):
        """Accepted beside what came out, once the rows were recorded too."""
        rows, patience = collections.Counter(), time.monotonic() + seconds
        while time.monotonic() < patience:
            found = json.loads(running.call("GET", "/rest/ledger?select=number"))
            rows = collections.Counter(row["number"] for row in found)
            if len(rows) >= self.accepted["row"]:
                break
            time.sleep(0.2)
        events = range(self.accepted["event"])
        return {
            "events_accepted": self.accepted["event"],
            "events_lost": sum(1 for number in events if number not in self.seen),
            "events_repeated": sum(count - 1 for count in self.seen.values()),
            "rows_accepted": self.accepted["row"],
            "rows_lost": sum(1 for number in range(self.accepted["row"]) if number not in rows),
            "rows_doubled": sum(count - 1 for count in rows.values()),
            "refusals": dict(self.refusals),
            "outages": self.outages,
            "problem": self.problem,
        }

    def _run(self, what):
        try:
            what()
        except Exception as problem:  # A thread has nobody who would see it.
            self.problem = f"{type(problem).__name__}: {problem}"

    def _produce(self):
        connection = self._connect()
        while not self._over.is_set():
            number = self.accepted["event"]
            event = {"specversion": "1.0", "id": str(number), "source": "/soak", "type": "ledger.entry", "data": {"n": number}}
            self._until_accepted(connection, "event", "/v1/events", event, {"Content-Type": "application/cloudevents+json"})
            number = self.accepted["row"]
            headers = {"Content-Type": "application/json", "Idempotency-Key": f"soak-{number}"}
            self._until_accepted(connection, "row", "/v1/datasets/ledger/rows", {"number": number}, headers)
            self._over.wait(PAUSE_SECONDS)

    def _until_accepted(self, connection, what, path, body, headers):
        begun = None
        while True:
            word = self._ask(connection, path, body, headers)[0]
            if word == 202:
                self.accepted[what] += 1
                if begun is not None:
                    self.outages.append((time.time(), round(time.monotonic() - begun, 2)))
                return
            if word not in (503, "connection"):
                raise RuntimeError(f"POST {path} was answered {word}")
            begun = begun or time.monotonic()
            self.refusals[str(word)] += 1
            if self._over.is_set():
                return
            time.sleep(PAUSE_SECONDS)

    def _consume(self):
        connection = self._connect()
        json_body = {"Content-Type": "application/json"}
        while not self._done.is_set():
            lease = {"max": 100, "wait_ms": WAIT_MS, "lease_ms": 5_000}
            word, text = self._ask(connection, "/v1/queues/ledger/lease", lease, json_body)
            if word != 200:
                time.sleep(PAUSE_SECONDS)
                continue
            deliveries = json.loads(text)["deliveries"]
            if deliveries:
                self.seen.update(delivery["event"]["data"]["n"] for delivery in deliveries)
                ids = [delivery["delivery_id"] for delivery in deliveries]
                # What is not acked comes again, which is counted.
                self._ask(connection, "/v1/queues/ledger/ack", {"delivery_ids": ids}, json_body)

    def _connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def _ask(self, connection, path, body, headers):
        try:
            connection.request("POST", path, json.dumps(body), {"X-API-Key": self.key, **headers})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return "connection", b""
