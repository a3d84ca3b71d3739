#!/usr/bin/env python3
"""How long an order takes until it is applied and until it is ready, on the target
`process`: real processes on this machine.

    bench/orders.py target/release/orderwire [--orders 200] [--at-once 8] [--clients 20]

Starts a server on an empty folder, orders as many releases of the product `broken`
(which works when told so), AT_ONCE at once, then updates and removes each, and
prints the times from the moment that an order was recorded to the end of its step,
as the journal of the order tells them.
"""

import argparse
import concurrent.futures
import datetime
import json
import subprocess
import tempfile
import urllib.request

FINAL = {"ready", "unchanged", "failed", "rolled_back", "cancelled", "superseded", "removed"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--clients", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [args.binary, "up", "--data", f"{folder}/data", "--listen", "127.0.0.1:0"]
        with open(f"{folder}/log", "wb") as log:
            server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            listen = json.loads(server.stdout.readline())["listen"]
            with open(f"{folder}/data/admin.key", encoding="ascii") as file:
                call = caller(f"http://{listen}", file.read().strip())
            measure(args, call)
        finally:
            server.terminate()
            if server.wait(60) != 0:
                raise SystemExit("the server did not end cleanly")


def caller(url, key):
    def call(method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        request = urllib.request.Request(url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.read().decode()

    return call


def measure(args, call):
    print("| order | orders | at once | until applied p50 / p99 ms | until finished p50 / p99 ms |")
    print("|---|---|---|---|---|")
    for what, how in [("create", "works"), ("update", "leaves-children"), ("remove", None)]:

        def order(n, what=what, how=how):
            body = {
                "client": f"client-{n % args.clients}",
                "product": "broken",
                "name": f"site-{n}",
                "action": what,
            }
            if how:
                body["parameters"] = {"how": how}
            return timed(call, body)

        with concurrent.futures.ThreadPoolExecutor(args.at_once) as pool:
            times = list(pool.map(order, range(args.orders)))
        applied = figures([applied for applied, _ in times if applied is not None])
        finished = figures([finished for _, finished in times])
        print(f"| {what} | {args.orders} | {args.at_once} | {applied} | {finished} |")


def timed(call, body):
    """Orders and follows to the end; milliseconds until applied and until finished."""
    path = json.loads(call("POST", "/v1/orders", body))["status_url"]
    call("GET", f"{path}/watch")
    order = json.loads(call("GET", path))
    wanted = "removed" if body["action"] == "remove" else "ready"
    if order["state"] != wanted:
        raise SystemExit(f"an order did not get {wanted}: {order}")
    begun = moment(order["created_at"])
    steps = json.loads(call("GET", f"{path}/steps"))["items"]
    applied = [moment(step["at"]) for step in steps if step["step"] == "apply" and step["outcome"] == "done"]
    since = lambda at: (at - begun).total_seconds() * 1000
    return (since(applied[-1]) if applied else None), since(moment(order["updated_at"]))


def moment(text):
    # Fractions have up to nine digits, of which six are read.
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.datetime.fromisoformat(f"{head}.{(fraction + '000000')[:6]}+00:00")


def figures(times):
    if not times:
        return "-"
    times = sorted(times)
    at = lambda share: times[min(len(times) - 1, int(len(times) * share))]
    return f"{at(0.5):.0f} / {at(0.99):.0f}"


if __name__ == "__main__":
    main()
