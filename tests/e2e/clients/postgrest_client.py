"""Python's postgrest, unchanged, against /rest: ends with 0 when everything is as it expects."""

import os

from postgrest import APIError, CountMethod, ReturnMethod, SyncPostgrestClient

client = SyncPostgrestClient(
    os.environ["URL"] + "/rest", headers={"Authorization": "Bearer " + os.environ["KEY"]}
)


def air():
    return client.from_("air")


def same(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


def refused(build, code):
    try:
        build.execute()
    except APIError as error:
        same(error.code, code)
        return error
    raise AssertionError(f"no error {code}")


def row(hour, station, **values):
    return {"TimeInstant": f"2026-01-01T{hour:02}:00:00Z", "id_entity": station, **values}


# What is minimal is answered at once; rows come in their order, so that it is there once the next is.
same(air().insert(row(0, "s1", n=1, no2=1.5), returning=ReturnMethod.minimal).execute().data, [])
added = air().insert(
    [row(1, "s2", n=9007199254740993, ok=True, raw={"a": {"b": [1, "x"]}}), row(2, "s,3", n=3)]
).execute()
same([entry["id_entity"] for entry in added.data], ["s2", "s,3"])
same(added.data[0]["n"], 9007199254740993)

# Select, filters, order.
same(len(air().select("*").execute().data), 3)
same(air().select("station:id_entity", "n::text").eq("n", 1).execute().data, [{"station": "s1", "n": "1"}])
for found, expected in [
    (air().select("n").gt("n", 2).order("n", desc=True), [9007199254740993, 3]),
    (air().select("n").in_("id_entity", ["s,3", "s1"]).order("n"), [1, 3]),
    (air().select("n").like("id_entity", "s_"), [1, 9007199254740993]),
    (air().select("n").ilike("id_entity", "S%").order("n").limit(2), [1, 3]),
    (air().select("n").is_("no2", "null").order("n"), [3, 9007199254740993]),
    (air().select("n").not_.is_("no2", "null"), [1]),
    (air().select("n").or_("n.eq.1,and(ok.is.true,n.gt.5)").order("n"), [1, 9007199254740993]),
    (air().select("n").gte("TimeInstant", "2026-01-01T01:00:00+00:00").order("TimeInstant"), [9007199254740993, 3]),
    (air().select("n").eq("raw->a->b->>1", "x"), [9007199254740993]),
    (air().select("n").order("no2", desc=True, nullsfirst=False).order("n", desc=True), [1, 9007199254740993, 3]),
    (air().select("n").order("n").range(1, 2), [3, 9007199254740993]),
]:
    same([entry["n"] for entry in found.execute().data], expected)
same(air().select("x:raw->a->b").eq("n", 9007199254740993).execute().data, [{"x": [1, "x"]}])

# Aggregates.
totals = air().select("id_entity,count(),n.sum(),no2.avg()").order("id_entity").execute().data
same(totals[0], {"id_entity": "s,3", "count": 1, "sum": 3, "avg": None})
same(air().select("n.sum()").execute().data, [{"sum": 9007199254740997}])

# Counts, and nothing but the count.
counted = air().select("n", count=CountMethod.exact).order("n").limit(1).execute()
same((counted.data, counted.count), ([{"n": 1}], 3))
same(air().select("*", count=CountMethod.exact, head=True).execute().count, 3)

# One row, and CSV.
same(air().select("n").eq("n", 3).single().execute().data, {"n": 3})
refused(air().select("n").single(), "PGRST116")
same(air().select("n").eq("n", 99).maybe_single().execute(), None)
same(air().select("id_entity,n").eq("n", 3).csv().execute().data, 'id_entity,n\r\n"s,3",3\r\n')

# Upserts do what the dataset does.
again = air().upsert(row(0, "s1", n=10, no2=2.5), on_conflict="TimeInstant,id_entity").execute().data
same([(entry["n"], entry["no2"]) for entry in again], [(10, 2.5)])
same(len(air().select("n").execute().data), 3)
refused(air().upsert(row(0, "s1", n=1), ignore_duplicates=True), "42P10")
refused(air().upsert(row(0, "s1", n=1), on_conflict="n"), "42P10")

# Errors.
same(refused(air().select("nope"), "42703").message, 'column "nope" does not exist in dataset air')
refused(client.from_("nope").select("*"), "42P01")
refused(air().select("n").eq("n", "x"), "22P02")
refused(air().insert({"TimeInstant": "2026-01-01T00:00:00Z", "id_entity": 5}), "22P02")
refused(air().update({"n": 1}).eq("n", 1), "PGRST117")
refused(air().delete().eq("n", 1), "PGRST117")
strange = SyncPostgrestClient(os.environ["URL"] + "/rest", headers={"Authorization": "Bearer nobody"})
refused(strange.from_("air").select("*"), "PGRST301")
