// JavaScript's @supabase/postgrest-js, unchanged, against /rest: ends with 0 when everything is
// as it expects.
const assert = require("node:assert/strict");
const { PostgrestClient } = require("@supabase/postgrest-js");

const { URL: url, KEY: key } = process.env;
const client = new PostgrestClient(`${url}/rest`, { headers: { Authorization: `Bearer ${key}` } });
const air = () => client.from("air");

const row = (hour, station, values) => ({
  TimeInstant: `2026-02-01T0${hour}:00:00Z`,
  id_entity: station,
  ...values,
});

async function found(build) {
  const { data, error } = await build;
  assert.equal(error, null);
  return data;
}

async function refused(build, code, status) {
  const answer = await build;
  assert.equal(answer.error?.code, code, JSON.stringify(answer));
  assert.equal(answer.status, status);
}

async function main() {
  const mine = (columns, options) =>
    air().select(columns, options).gte("TimeInstant", "2026-02-01").lt("TimeInstant", "2026-03-01");

  // What is minimal is answered at once; rows come in their order.
  const minimal = await air().insert(row(0, "s1", { n: 1, no2: 1.5 }));
  assert.deepEqual([minimal.error, minimal.status, minimal.data], [null, 202, null]);
  const added = await air()
    .insert([row(1, "s2", { n: 2, ok: true, raw: { a: [1, "x"] } }), row(2, "s3", { n: 3 })])
    .select("id_entity,n");
  assert.deepEqual([added.error, added.status], [null, 201]);
  assert.deepEqual(added.data, [{ id_entity: "s2", n: 2 }, { id_entity: "s3", n: 3 }]);
  const one = await found(air().insert(row(3, "s4", { n: 4 })).select("n").single());
  assert.deepEqual(one, { n: 4 });

  // Select, filters, order, ranges.
  const numbers = async (build) => (await found(build)).map((entry) => entry.n);
  assert.deepEqual(await numbers(mine("n").gt("n", 1).order("n", { ascending: false })), [4, 3, 2]);
  assert.deepEqual(await numbers(mine("n").in("id_entity", ["s1", "s,2"])), [1]);
  assert.deepEqual(await numbers(mine("n").or("n.eq.1,and(ok.is.true,n.lt.5)").order("n")), [1, 2]);
  assert.deepEqual(await numbers(mine("n").is("no2", null).order("n").range(1, 2)), [3, 4]);
  assert.deepEqual(await numbers(mine("n").not("ok", "is", null)), [2]);
  assert.deepEqual(await numbers(mine("n").match({ id_entity: "s3" })), [3]);
  assert.deepEqual(await numbers(mine("n").eq("raw->a->>1", "x")), [2]);
  assert.deepEqual(await numbers(mine("n").ilike("id_entity", "S%").order("n").limit(1)), [1]);
  assert.deepEqual(await found(mine("station:id_entity,n::text,a:raw->a->0").eq("n", 2)), [
    { station: "s2", n: "2", a: 1 },
  ]);

  // Aggregates and counts.
  assert.deepEqual(await found(mine("n.sum(),n.max(),many:count()")), [{ sum: 10, max: 4, many: 4 }]);
  const counted = await mine("n", { count: "exact" }).order("n").limit(1);
  assert.deepEqual([counted.data, counted.count, counted.status], [[{ n: 1 }], 4, 206]);
  const head = await mine("*", { count: "exact", head: true });
  assert.deepEqual([head.data, head.count], [null, 4]);

  // One row, and CSV.
  assert.deepEqual(await found(mine("n").eq("n", 3).single()), { n: 3 });
  assert.equal(await found(mine("n").eq("n", 99).maybeSingle()), null);
  await refused(mine("n").single(), "PGRST116", 406);
  assert.equal(await found(mine("id_entity,n").eq("n", 3).csv()), "id_entity,n\r\ns3,3\r\n");

  // Upserts do what the dataset does.
  const again = air().upsert(row(0, "s1", { n: 10 }), { onConflict: "TimeInstant,id_entity" });
  assert.deepEqual(await found(again.select("n,no2")), [{ n: 10, no2: null }]);
  const ignored = air().upsert(row(0, "s1", { n: 1 }), { ignoreDuplicates: true });
  await refused(ignored, "42P10", 409);

  // Errors.
  await refused(air().select("nope"), "42703", 400);
  await refused(client.from("nope").select(), "42P01", 404);
  await refused(air().insert(row(0, 5)), "22P02", 422);
  await refused(air().insert({ nope: 1 }), "22P02", 422);
  await refused(air().update({ n: 1 }).eq("n", 1), "PGRST117", 405);
  await refused(air().delete().eq("n", 1), "PGRST117", 405);
  const strange = new PostgrestClient(`${url}/rest`, { headers: { Authorization: "Bearer nobody" } });
  await refused(strange.from("air").select(), "PGRST301", 401);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
