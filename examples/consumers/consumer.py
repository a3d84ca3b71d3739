#!/usr/bin/env python3
"""Consumes a queue of Orderwire with nothing but Python's standard library.

Leases a few deliveries, works on them one by one, acks each after its work. A
delivery comes again unless it was acked, so that a crash loses nothing, and what
`handle` does may happen twice: use the event's id where that matters.
"""

import http.client
import itertools
import json
import os
import random
import signal
import sys
import threading
import urllib.error
import urllib.request

SERVER = os.environ.get("ORDERWIRE_SERVER", "http://127.0.0.1:8080")
KEY = os.environ["ORDERWIRE_API_KEY"]
QUEUE = os.environ.get("QUEUE", "orders")
# All of a batch has to be done within this time; what takes longer is extended.
LEASE_MS = int(os.environ.get("LEASE_MS", "30000"))

stopping = threading.Event()


def handle(event, attempt):
    """The work. An exception means: try again later."""
    data = json.dumps(event.get("data"), separators=(",", ":"))
    print(f"{event['type']} {data} attempt {attempt}", flush=True)


def call(action, body):
    """One call. A server that is busy or away is asked again, later each time."""
    request = urllib.request.Request(
        f"{SERVER}/v1/queues/{QUEUE}/{action}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    for tried in itertools.count():
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 409:
                # A lease ran out: the delivery comes again, or is with somebody else.
                answer = json.load(error)
                print(f"{action}: {answer['detail']}", file=sys.stderr, flush=True)
                return answer
            if error.code not in (429, 503):
                sys.exit(f"{action}: {error.code} {error.read().decode()}")
            why, pause = f"status {error.code}", error.headers.get("Retry-After")
        except (OSError, http.client.HTTPException) as error:
            why, pause = error, None
        if stopping.is_set() and action == "lease":
            return {}
        if stopping.is_set() and tried >= 2:
            sys.exit(f"{action}: {why}; what is unsettled comes again")
        pause = float(pause) if pause else min(30.0, 0.5 * 2 ** min(tried, 6))
        pause *= random.uniform(1.0, 1.5)
        print(f"{action}: {why}; again in {pause:.1f} s", file=sys.stderr, flush=True)
        stopping.wait(pause)


def work_on(deliveries):
    """Works on deliveries in order; gives back what it does not get to."""
    while deliveries:
        if stopping.is_set():
            ids = [delivery["delivery_id"] for delivery in deliveries]
            call("nack", {"delivery_ids": ids, "delay_ms": 0, "cause": "the consumer stops"})
            return
        delivery = deliveries[0]
        try:
            handle(delivery["event"], delivery["attempt"])
        except Exception as error:
            # With those behind it, which may be of the same key: their order stays.
            ids = [delivery["delivery_id"] for delivery in deliveries]
            call("nack", {"delivery_ids": ids, "cause": str(error)[:1000]})
            return
        call("ack", {"delivery_ids": [delivery["delivery_id"]]})
        deliveries.pop(0)


def main():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    while not stopping.is_set():
        # Waits up to 5 seconds for something to do, which is also how long a stop takes at most.
        leased = call("lease", {"max": 10, "wait_ms": 5000, "lease_ms": LEASE_MS})
        work_on(leased.get("deliveries", []))


if __name__ == "__main__":
    main()
