// Consumes a queue of Orderwire with nothing but Node (18 or newer): deliveries are
// pushed as server-sent events, each is acked after its work.
//
// A delivery comes again unless it was acked, so that a crash loses nothing, and what
// `handle` does may happen twice: use the event's id where that matters.

const {
  ORDERWIRE_SERVER = "http://127.0.0.1:8080",
  ORDERWIRE_API_KEY,
  QUEUE = "orders",
  // What takes longer is extended.
  LEASE_MS = "60000",
} = process.env;
if (!ORDERWIRE_API_KEY) {
  console.error("ORDERWIRE_API_KEY is not set");
  process.exit(1);
}

const queue = `${ORDERWIRE_SERVER}/v1/queues/${encodeURIComponent(QUEUE)}`;
const headers = { authorization: `Bearer ${ORDERWIRE_API_KEY}`, "content-type": "application/json" };

const stop = new AbortController();
for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => stop.abort());

/** The work. An exception means: try again later. */
async function handle(event, attempt) {
  console.log(`${event.type} ${JSON.stringify(event.data)} attempt ${attempt}`);
}

/** Sleeps; not longer than until the stop. */
const sleep = (ms) =>
  new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      stop.signal.removeEventListener("abort", done);
      resolve();
    }
    stop.signal.addEventListener("abort", done);
    if (stop.signal.aborted) done();
  });

/** One call. A server that is busy or away is asked again, later each time. */
async function call(what, send) {
  for (let tried = 0; ; tried++) {
    let why, pause;
    try {
      const response = await send();
      if (response.ok || response.status === 409) return response;
      why = `status ${response.status}: ${await response.text()}`;
      if (response.status !== 429 && response.status !== 503) {
        console.error(`${what}: ${why}`);
        process.exit(1);
      }
      pause = Number(response.headers.get("retry-after")) * 1000;
    } catch (error) {
      why = error.cause?.message ?? error.message;
    }
    if (stop.signal.aborted && what === "stream") return null;
    if (stop.signal.aborted && tried >= 2) throw new Error(`${what}: ${why}`);
    pause = (pause || Math.min(30_000, 500 * 2 ** Math.min(tried, 6))) * (1 + Math.random() / 2);
    console.error(`${what}: ${why}; again in ${(pause / 1000).toFixed(1)} s`);
    await sleep(pause);
  }
}

/** Settles a delivery; one whose lease ran out comes again, or is with somebody else. */
async function settle(action, body) {
  const send = () => fetch(`${queue}/${action}`, { method: "POST", headers, body: JSON.stringify(body) });
  const response = await call(action, send);
  const answer = await response.json();
  if (response.status === 409) console.error(`${action}: ${answer.detail}`);
}

/** The events of a stream: name and data of each. */
async function* eventsOf(body) {
  let text = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const field = (name) =>
        event
          .split("\n")
          .filter((line) => line.startsWith(`${name}:`))
          .map((line) => line.slice(name.length + 1).trimStart())
          .join("\n");
      if (field("data")) yield { name: field("event"), data: JSON.parse(field("data")) };
    }
  }
}

/** Works on what one stream brings, until it ends. */
async function consume(response) {
  for await (const { name, data } of eventsOf(response.body)) {
    if (name === "problem") {
      console.error(`stream: ${data.detail}`);
      return;
    }
    if (name !== "delivery") continue;
    try {
      await handle(data.event, data.attempt);
    } catch (error) {
      await settle("nack", { delivery_ids: [data.delivery_id], cause: String(error).slice(0, 1000) });
      continue;
    }
    await settle("ack", { delivery_ids: [data.delivery_id] });
    if (stop.signal.aborted) return;
  }
}

while (!stop.signal.aborted) {
  // One at a time: the next delivery comes when this one is settled. With more, several can
  // be worked on at once; those of one key come in order, and a nack takes those behind it back.
  const url = `${queue}/stream?max=1&lease_ms=${LEASE_MS}`;
  const response = await call("stream", () => fetch(url, { headers, signal: stop.signal }));
  if (response === null) break;
  if (!response.ok) {
    console.error(`stream: ${(await response.json()).detail}`);
    process.exit(1);
  }
  try {
    await consume(response);
  } catch (error) {
    if (!stop.signal.aborted) console.error(`stream: ${error.message}`);
  }
  // The server went down or ended the stream: it may be back in a moment.
  await sleep(1000);
}
