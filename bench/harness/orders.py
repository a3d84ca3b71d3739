"""How long orders take on the target `process`: real processes on this machine.

So many releases of the product `broken` (which works when told so) are ordered, then
updated, then removed, some at once; the times are those of the orders' journals, from
the moment that an order was recorded.
"""

import concurrent.futures
import datetime
import json

from . import process

ORDERS, AT_ONCE, CLIENTS = 200, 8, 20

# What is ordered, and how the product behaves then. A process that leaves children in
# sessions of their own is the hardest to end.
CHANGES = (("create", "works"), ("update", "leaves-children"), ("remove", None))


def measure(server):
    """For each kind of order the quantiles of both times, in milliseconds."""
    return {action: one_kind(server, action, how) for action, how in CHANGES}


def one_kind(server, action, how):
    def order(n):
        body = {"client": f"client-{n % CLIENTS}", "product": "broken", "name": f"site-{n}", "action": action}
        return times(server, {**body, "parameters": {"how": how}} if how else body)

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        applied, finished = zip(*pool.map(order, range(ORDERS)))
    return {"applied_ms": quantiles(applied), "finished_ms": quantiles(finished)}


def times(server, body):
    """Orders and follows to the end; milliseconds until applied, if ever, and finished."""
    path = json.loads(server.call("POST", "/v1/orders", json.dumps(body)))["status_url"]
    server.call("GET", f"{path}/watch")
    order = json.loads(server.call("GET", path))
    wanted = "removed" if body["action"] == "remove" else "ready"
    if order["state"] != wanted:
        raise process.Failed(f"an order did not get {wanted}: {order}")
    steps = json.loads(server.call("GET", f"{path}/steps"))["items"]
    applied = [step["at"] for step in steps if step["step"] == "apply" and step["outcome"] == "done"]
    begun = moment(order["created_at"])
    since = lambda at: (moment(at) - begun).total_seconds() * 1000
    return since(applied[-1]) if applied else None, since(order["updated_at"])


def moment(text):
    # Fractions have up to nine digits, of which six are read.
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.datetime.fromisoformat(f"{head}.{(fraction + '000000')[:6]}+00:00")


def quantiles(found):
    found = sorted(time for time in found if time is not None)
    at = lambda share: round(found[min(len(found) - 1, int(len(found) * share))], 1)
    return {"p50": at(0.5), "p99": at(0.99), "max": at(1)} if found else None
