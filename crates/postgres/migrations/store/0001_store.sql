-- The store: what there is. Each dataset has a table of its own in the schema "data",
-- made when it is defined. Text compares by code point everywhere (COLLATE "C").

CREATE SCHEMA data;
COMMENT ON SCHEMA data IS 'The datasets of Orderwire, one table each.';

-- Generations: each is given once, so that a dataset that was made anew never has one
-- that another of its name had.
CREATE SEQUENCE store.generation AS bigint;

-- Every dataset. Whoever records into one holds its row until the commit, so that _seq
-- and generation grow in the order of commits.
CREATE TABLE store.dataset (
    name       text COLLATE "C" NOT NULL PRIMARY KEY,
    -- types::dataset::DatasetDef
    def        text             NOT NULL,
    created_at timestamptz      NOT NULL,
    changed_at timestamptz      NOT NULL,
    -- The greatest _seq ever given, also to rows that are gone.
    last_seq   bigint           NOT NULL,
    -- The generation of the definition.
    defined    bigint           NOT NULL,
    -- Of the last committed change.
    generation bigint           NOT NULL
) WITH (fillfactor = 50);

-- How far each reader of a stream is.
CREATE TABLE store.reader (
    name     text COLLATE "C" NOT NULL PRIMARY KEY,
    position bigint           NOT NULL
) WITH (fillfactor = 50);

-- One row: what names this store among all, so that a cache that outlives it is never
-- taken for its own.
CREATE TABLE store.identity (id uuid NOT NULL);
INSERT INTO store.identity VALUES (gen_random_uuid());

-- The transactions of the last hour that ended, by a token of each, which is committed with
-- it: so somebody whose COMMIT was not answered learns what became of it. The id of a
-- transaction would not do, as a server that crashed may give it out again.
CREATE TABLE store.ended (
    token  uuid        NOT NULL PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    -- Of one that was asked for, and did not happen.
    undone boolean     NOT NULL DEFAULT false
);
CREATE INDEX ended_at ON store.ended (at);

-- The events whose rows are recorded and that may come again, by window of time (one hour,
-- counted from 1970): ids at random are neighbours within one, and an old window goes as
-- a whole.
CREATE TABLE store.remembered (
    part     bigint      NOT NULL,
    event_id uuid        NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (part, event_id)
);

-- One row: what is remembered from before counts as forgotten.
CREATE TABLE store.remembered_since (at timestamptz NOT NULL) WITH (fillfactor = 50);
INSERT INTO store.remembered_since VALUES ('-infinity');

-- Which lines of which file are recorded: lines "first" up to, but without, "until".
-- Pieces that touch are one row, so that a whole file is one row.
CREATE TABLE store.import (
    dataset text COLLATE "C" NOT NULL,
    client  text COLLATE "C" NOT NULL,
    file    text COLLATE "C" NOT NULL,
    first   bigint           NOT NULL,
    until   bigint           NOT NULL,
    PRIMARY KEY (dataset, client, file, first)
);

-- Every client.
CREATE TABLE store.client (
    name       text COLLATE "C" NOT NULL PRIMARY KEY,
    since      timestamptz      NOT NULL,
    changed_at timestamptz      NOT NULL,
    trace      uuid             NOT NULL,
    attributes text             NOT NULL
);

-- The changes of clients that were applied, by time, so that old ones go together and
-- new ones are neighbours.
CREATE TABLE store.client_change (
    at       timestamptz NOT NULL,
    event_id uuid        NOT NULL,
    PRIMARY KEY (at, event_id)
);

-- Who may call. Lists are JSON.
CREATE TABLE store.api_key (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    name       text             NOT NULL,
    hash       bytea            NOT NULL,
    clients    text             NOT NULL,
    rights     text             NOT NULL,
    objects    text,
    created_at timestamptz      NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);

-- What workers did, by window of time (one hour, counted from 1970) and trace: a record is
-- found by probing each window, and ids at random are neighbours within one.
CREATE TABLE store.trace_record (
    part   bigint           NOT NULL,
    trace  uuid             NOT NULL,
    -- The order of arrival.
    n      bigint           NOT NULL GENERATED ALWAYS AS IDENTITY,
    client text COLLATE "C" NOT NULL,
    -- types::step::Step, as an array
    steps  text             NOT NULL,
    PRIMARY KEY (part, trace, n)
);

-- Attempts of the forwarder at endpoints. Those of one endpoint have numbers without a
-- gap, so that the oldest beyond a bound are a range.
CREATE TABLE store.delivery_attempt (
    endpoint   text COLLATE "C" NOT NULL,
    number     bigint           NOT NULL,
    at         timestamptz      NOT NULL,
    event_id   uuid             NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    client     text COLLATE "C" NOT NULL,
    trace      uuid             NOT NULL,
    attempt    bigint           NOT NULL,
    -- delivered, retry, failed
    outcome    text COLLATE "C" NOT NULL,
    -- Of the answer; null when there was none.
    status     integer,
    detail     text,
    -- Microseconds.
    duration   bigint           NOT NULL,
    PRIMARY KEY (endpoint, number)
);

-- Every order; kept until it is swept.
CREATE TABLE store.release_order (
    id          uuid             NOT NULL PRIMARY KEY,
    trace       uuid             NOT NULL,
    trace_given text,
    client      text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    product     text COLLATE "C" NOT NULL,
    environment text COLLATE "C" NOT NULL,
    archtype    text,
    hardware    text,
    namespace   text COLLATE "C" NOT NULL,
    target      text COLLATE "C" NOT NULL,
    action      text             NOT NULL,
    to_revision bigint,
    parameters  text             NOT NULL,
    principal   text             NOT NULL,
    fingerprint bytea            NOT NULL,
    ordered_at  timestamptz      NOT NULL,
    release     uuid,
    state       text COLLATE "C" NOT NULL,
    reason      text,
    revision    bigint,
    cancel      boolean          NOT NULL,
    removed     text[]           NOT NULL,
    created_at  timestamptz      NOT NULL,
    updated_at  timestamptz      NOT NULL,
    -- How many rules in a row led to it.
    depth       smallint         NOT NULL,
    -- How often its state changed; the first state counts.
    changes     bigint           NOT NULL,
    -- Until its state is final.
    open        boolean          NOT NULL,
    -- While it is the newest order of a release that is there.
    newest      boolean          NOT NULL,
    -- Once somebody claimed the release for it.
    claimed     boolean          NOT NULL
);
CREATE INDEX release_order_all ON store.release_order (created_at, id);
CREATE INDEX release_order_client ON store.release_order (client, created_at, id);
CREATE INDEX release_order_state ON store.release_order (state, created_at, id);
CREATE INDEX release_order_trace ON store.release_order (trace, created_at, id);
CREATE INDEX release_order_release ON store.release_order (release, created_at, id);
CREATE INDEX release_order_open ON store.release_order (release) WHERE open;
-- What may be swept, oldest first.
CREATE INDEX release_order_past ON store.release_order (updated_at) WHERE NOT open AND NOT newest;

-- What was done for an order.
CREATE TABLE store.order_journal (
    order_id uuid        NOT NULL,
    n        bigint      NOT NULL,
    at       timestamptz NOT NULL,
    step     text        NOT NULL,
    outcome  text        NOT NULL,
    detail   text,
    PRIMARY KEY (order_id, n)
);

-- Changes of orders' states that were not told yet, each with what of the order
-- may change as it was then.
CREATE TABLE store.order_change (
    seq      bigint           NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid             NOT NULL,
    n        bigint           NOT NULL,
    state    text             NOT NULL,
    reason   text,
    revision bigint,
    cancel   boolean          NOT NULL,
    removed  text[]           NOT NULL,
    at       timestamptz      NOT NULL
);
CREATE INDEX order_change_order ON store.order_change (order_id);

-- Every release; a removed one is kept until it is swept.
CREATE TABLE store.release (
    id           uuid             NOT NULL PRIMARY KEY,
    client       text COLLATE "C" NOT NULL,
    environment  text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    product      text COLLATE "C" NOT NULL,
    archtype     text,
    hardware     text,
    target       text COLLATE "C" NOT NULL,
    namespace    text COLLATE "C" NOT NULL,
    order_id     uuid             NOT NULL,
    trace        uuid             NOT NULL,
    trace_given  text,
    revisions    bigint           NOT NULL,
    state        text             NOT NULL,
    reason       text,
    ready        bigint,
    applied      bigint,
    -- Once the hand-over of "applied" came to its end.
    handed_over  boolean          NOT NULL,
    keys_made    bigint           NOT NULL,
    keys_revoked bigint           NOT NULL,
    resources    text             NOT NULL,
    created_at   timestamptz      NOT NULL,
    updated_at   timestamptz      NOT NULL,
    -- Null while it is there.
    removed_at   timestamptz,
    -- How many of its revisions are stored.
    stored       bigint           NOT NULL
);
CREATE UNIQUE INDEX release_name ON store.release (client, environment, name) WHERE removed_at IS NULL;
CREATE INDEX release_all ON store.release (client, environment, name, id);
-- Whose a namespace is: that of the releases which live there.
CREATE INDEX release_namespace ON store.release (target, namespace) WHERE removed_at IS NULL;
CREATE INDEX release_removed ON store.release (removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX release_stored ON store.release (stored);

CREATE TABLE store.revision (
    release     uuid        NOT NULL,
    number      bigint      NOT NULL,
    hash        text        NOT NULL,
    content     text        NOT NULL,
    order_id    uuid        NOT NULL,
    trace       uuid        NOT NULL,
    trace_given text,
    created_at  timestamptz NOT NULL,
    ready_at    timestamptz,
    PRIMARY KEY (release, number)
);

-- Who works on a release, and when it is to be worked on: small rows apart from
-- the release, as they change all the time.
CREATE TABLE store.release_work (
    release uuid             NOT NULL PRIMARY KEY,
    target  text COLLATE "C" NOT NULL,
    client  text COLLATE "C" NOT NULL,
    -- Releases with an unfinished order are claimed before the others.
    ordered boolean          NOT NULL,
    -- When it may be claimed next: when it is due, or while it is held the end of
    -- the lease. Null when nothing is to be done.
    at      timestamptz,
    -- The number of the last lease.
    lease   bigint           NOT NULL,
    -- The end of the lease; null when nobody holds it.
    until   timestamptz,
    -- The earliest wake-up since it was claimed, while it is held.
    woken   timestamptz
);
CREATE INDEX release_work_at ON store.release_work (target, client, ordered, at) WHERE at IS NOT NULL;

-- The turns of clients. A claim marks those of whom something is due and takes
-- the one that was served longest ago, so that it looks neither through clients
-- of whom nothing is due nor through their releases. Of each client two on each target:
-- of its releases with an unfinished order, and of its others.
CREATE TABLE store.release_turn (
    target  text COLLATE "C" NOT NULL,
    client  text COLLATE "C" NOT NULL,
    ordered boolean          NOT NULL,
    -- When the client was served last on the target, counted in claims; on both the same.
    turn    bigint           NOT NULL,
    -- The earliest "at" of its releases of this kind on the target.
    at      timestamptz,
    -- Whether a claim saw that this moment has come.
    ready   boolean          NOT NULL,
    PRIMARY KEY (target, client, ordered)
);
CREATE INDEX release_turn_at ON store.release_turn (target, at) WHERE NOT ready AND at IS NOT NULL;
CREATE INDEX release_turn_ready ON store.release_turn (target, ordered, turn, client) WHERE ready;

-- How many releases of a target were claimed so far: turns are counted in it.
CREATE TABLE store.target_claims (
    target text COLLATE "C" NOT NULL PRIMARY KEY,
    claims bigint           NOT NULL
);

-- One row: the key under which secrets are hashed, once there is one.
CREATE TABLE store.provisioner (hash_key bytea);
INSERT INTO store.provisioner VALUES (NULL);
