"""One real release becomes many, in the store's file, while no server runs.

So many releases cannot be made by orders: each would start a process. So one is
ordered, gets to a state in which nothing of it runs, and its rows are copied, each copy
with ids, a name and a client of its own. What refers to another row refers to the
copy's: release, order, revision, journal, the turn of its client. Not copied are traces
and changes that wait to be told, which are gone after a while anyway.

Only names of columns are known here that have to differ; all others are copied as they
are, so that a column more changes nothing. The server checks what it reads: a copy that
is no release would be reported as damage.
"""

import contextlib
import sqlite3

from . import process


def multiply(file, release_name, count, clients):
    """Copies the release of this name so often, spread over so many clients."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = -262144")
        db.execute("PRAGMA synchronous = OFF")
        found = db.execute("SELECT id, order_id FROM release WHERE name = ?", [release_name]).fetchall()
        if len(found) != 1:
            raise process.Failed(f"there are {len(found)} releases {release_name}, not one")
        release, order = found[0]
        db.execute("BEGIN IMMEDIATE")
        # What differs, by number. The ids are in order of the numbers, as those of
        # orders are in order of time.
        db.execute(
            "CREATE TEMP TABLE copy (n INTEGER PRIMARY KEY, release BLOB, order_id BLOB, trace BLOB, "
            "client TEXT, name TEXT)"
        )
        db.executemany(
            "INSERT INTO copy VALUES (?, ?, ?, ?, ?, ?)",
            (
                (n, ident(release, n), ident(order, n), ident(order, n), f"client-{n % clients:05}", f"{release_name}-{n:06}")
                for n in range(count)
            ),
        )
        ids = {"trace": "copy.trace", "client": "copy.client", "name": "copy.name", "namespace": "copy.client"}
        copy(db, "release", "id", release, {**ids, "id": "copy.release", "order_id": "copy.order_id"})
        copy(db, "release_order", "id", order, {**ids, "id": "copy.order_id", "release": "copy.release"})
        copy(db, "order_journal", "order_id", order, {"order_id": "copy.order_id"})
        copy(
            db,
            "revision",
            "release",
            release,
            {"release": "copy.release", "order_id": "copy.order_id", "trace": "copy.trace"},
        )
        copy(db, "release_work", "release", release, {"release": "copy.release", "client": "copy.client"})
        # One row a client: of each the first copy. One client may be the original's, which
        # has its rows.
        (client,) = db.execute("SELECT client FROM release WHERE id = ?", [release]).fetchone()
        db.execute("DELETE FROM copy WHERE n >= ? OR client = ?", [clients, client])
        copy(db, "release_turn", "client", client, {"client": "copy.client"})
        copy(db, "client", "name", client, {"name": "copy.client"})
        db.execute("COMMIT")


def copy(db, table, column, value, differs):
    """For each row of `copy` the row of the table, with what differs."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    differs = {name: what for name, what in differs.items() if name in columns}
    values = ", ".join(differs.get(name, f"it.{name}") for name in columns)
    where = f"{table} AS it WHERE it.{column} = ?"
    db.execute(f"INSERT INTO {table} SELECT {values} FROM copy CROSS JOIN {where} ORDER BY copy.n", [value])


def ident(origin, n):
    """Sixteen bytes that are nobody else's: the original's, its end replaced by a number."""
    return origin[:10] + (n + 1).to_bytes(6, "big")
