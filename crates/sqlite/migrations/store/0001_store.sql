-- The store: what there is. The rows of a dataset are in a table of their own,
-- data_<name>, made when the dataset is defined; its indexes are
-- client_<name>#<generation> (client), key_<name>#<generation> (client and
-- key, unique) and time_<name>#<generation> (client and time). The table of a
-- dataset that was removed is gone_<generation> until its rows are swept.
-- Moments are microseconds since 1970 in UTC, ids are 16 bytes.

-- Every dataset.
CREATE TABLE dataset (
    name       TEXT    NOT NULL PRIMARY KEY,
    -- types::dataset::DatasetDef
    def        TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    -- The greatest _seq ever given, also to rows that are gone.
    last_seq   INTEGER NOT NULL,
    -- Of the last committed change.
    generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: the greatest generation of a dataset that is gone, so that one of
-- the same name never comes back with a generation that was there before.
CREATE TABLE past (generation INTEGER NOT NULL) STRICT;
INSERT INTO past VALUES (0);

-- How far each reader of a stream is.
CREATE TABLE reader (
    name     TEXT    NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which lines of which file are recorded: lines "first" up to, but without,
-- "until". Pieces that touch are one row, so that a whole file is one row.
CREATE TABLE import (
    dataset TEXT    NOT NULL,
    client  TEXT    NOT NULL,
    file    TEXT    NOT NULL,
    first   INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    PRIMARY KEY (dataset, client, file, first)
) STRICT, WITHOUT ROWID;

-- Every client.
CREATE TABLE client (
    name       TEXT    NOT NULL PRIMARY KEY,
    since      INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    trace      BLOB    NOT NULL,
    attributes TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- The changes of clients that were applied, by time, so that old ones go
-- together and new ones are neighbours.
CREATE TABLE client_change (
    at       INTEGER NOT NULL,
    event_id BLOB    NOT NULL,
    PRIMARY KEY (at, event_id)
) STRICT, WITHOUT ROWID;

-- Who may call. Lists are JSON.
CREATE TABLE api_key (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    hash       BLOB    NOT NULL,
    clients    TEXT    NOT NULL,
    rights     TEXT    NOT NULL,
    objects    TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- The windows of time that have trace records: each is one hour.
CREATE TABLE trace_part (
    part INTEGER NOT NULL PRIMARY KEY
) STRICT;

-- What workers did, by window and trace: a record is found by probing each
-- window, and a whole window goes at once.
CREATE TABLE trace_record (
    part   INTEGER NOT NULL,
    trace  BLOB    NOT NULL,
    n      INTEGER NOT NULL,
    client TEXT    NOT NULL,
    -- types::step::Step, as an array
    steps  TEXT    NOT NULL,
    PRIMARY KEY (part, trace, n)
) STRICT, WITHOUT ROWID;

-- Every order; kept until it is swept.
CREATE TABLE release_order (
    id          BLOB    NOT NULL PRIMARY KEY,
    trace       BLOB    NOT NULL,
    trace_given TEXT,
    client      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    product     TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    archtype    TEXT,
    hardware    TEXT,
    namespace   TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    to_revision INTEGER,
    parameters  TEXT    NOT NULL,
    principal   TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    ordered_at  INTEGER NOT NULL,
    release     BLOB,
    state       TEXT    NOT NULL,
    reason      TEXT,
    revision    INTEGER,
    cancel      INTEGER NOT NULL,
    -- A JSON array of texts.
    removed     TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    -- How often its state changed; the first state counts.
    changes     INTEGER NOT NULL,
    -- 1 until its state is final.
    open        INTEGER NOT NULL,
    -- 1 while it is the newest order of a release that is there.
    newest      INTEGER NOT NULL,
    -- 1 once somebody claimed the release for it.
    claimed     INTEGER NOT NULL
) STRICT;
CREATE INDEX release_order_all ON release_order (created_at, id);
CREATE INDEX release_order_client ON release_order (client, created_at, id);
CREATE INDEX release_order_state ON release_order (state, created_at, id);
CREATE INDEX release_order_trace ON release_order (trace, created_at, id);
CREATE INDEX release_order_release ON release_order (release, created_at, id);
CREATE INDEX release_order_open ON release_order (release) WHERE open = 1;
-- What may be swept, oldest first.
CREATE INDEX release_order_past ON release_order (updated_at) WHERE open = 0 AND newest = 0;

-- What was done for an order.
CREATE TABLE order_journal (
    order_id BLOB    NOT NULL,
    n        INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    step     TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,
    detail   TEXT,
    PRIMARY KEY (order_id, n)
) STRICT, WITHOUT ROWID;

-- Changes of orders' states that were not told yet, each with what of the order
-- may change as it was then. A number is never given twice.
CREATE TABLE order_change (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id BLOB    NOT NULL,
    n        INTEGER NOT NULL,
    state    TEXT    NOT NULL,
    reason   TEXT,
    revision INTEGER,
    cancel   INTEGER NOT NULL,
    removed  TEXT    NOT NULL,
    at       INTEGER NOT NULL
) STRICT;
CREATE INDEX order_change_order ON order_change (order_id);

-- Every release; a removed one is kept until it is swept.
CREATE TABLE release (
    id           BLOB    NOT NULL PRIMARY KEY,
    client       TEXT    NOT NULL,
    environment  TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    product      TEXT    NOT NULL,
    archtype     TEXT,
    hardware     TEXT,
    target       TEXT    NOT NULL,
    namespace    TEXT    NOT NULL,
    order_id     BLOB    NOT NULL,
    trace        BLOB    NOT NULL,
    trace_given  TEXT,
    revisions    INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    reason       TEXT,
    ready        INTEGER,
    applied      INTEGER,
    -- 1 once the hand-over of "applied" came to its end.
    handed_over  INTEGER NOT NULL,
    keys_made    INTEGER NOT NULL,
    keys_revoked INTEGER NOT NULL,
    resources    TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    -- Null while it is there.
    removed_at   INTEGER,
    -- How many of its revisions are stored.
    stored       INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX release_name ON release (client, environment, name) WHERE removed_at IS NULL;
CREATE INDEX release_all ON release (client, environment, name, id);
-- Whose a namespace is: that of the releases which live there.
CREATE INDEX release_namespace ON release (target, namespace) WHERE removed_at IS NULL;
CREATE INDEX release_removed ON release (removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX release_stored ON release (stored);

CREATE TABLE revision (
    release     BLOB    NOT NULL,
    number      INTEGER NOT NULL,
    hash        TEXT    NOT NULL,
    content     TEXT    NOT NULL,
    order_id    BLOB    NOT NULL,
    trace       BLOB    NOT NULL,
    trace_given TEXT,
    created_at  INTEGER NOT NULL,
    ready_at    INTEGER,
    PRIMARY KEY (release, number)
) STRICT;

-- Who works on a release, and when it is to be worked on: small rows apart from
-- the release, as they change all the time.
CREATE TABLE release_work (
    release BLOB    NOT NULL PRIMARY KEY,
    target  TEXT    NOT NULL,
    client  TEXT    NOT NULL,
    -- When it may be claimed next: when it is due, or while it is held the end of
    -- the lease. Null when nothing is to be done.
    at      INTEGER,
    -- The number of the last lease.
    lease   INTEGER NOT NULL,
    -- The end of the lease; null when nobody holds it.
    until   INTEGER,
    -- The earliest wake-up since it was claimed, while it is held.
    woken   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX release_work_at ON release_work (target, client, at) WHERE at IS NOT NULL;

-- The turns of clients. A claim marks those of whom something is due and takes
-- the one that was served longest ago, so that it looks neither through clients
-- of whom nothing is due nor through their releases.
CREATE TABLE release_turn (
    target TEXT    NOT NULL,
    client TEXT    NOT NULL,
    -- When the client was served last, counted in claims; on all targets the same.
    turn   INTEGER NOT NULL,
    -- The earliest "at" of its releases on the target.
    at     INTEGER,
    -- 1 when a claim saw that this moment has come.
    ready  INTEGER NOT NULL,
    PRIMARY KEY (target, client)
) STRICT, WITHOUT ROWID;
CREATE INDEX release_turn_client ON release_turn (client);
CREATE INDEX release_turn_at ON release_turn (target, at) WHERE ready = 0 AND at IS NOT NULL;
CREATE INDEX release_turn_ready ON release_turn (target, turn, client) WHERE ready = 1;

-- One row.
CREATE TABLE provisioner (
    -- How many claims there were.
    claims   INTEGER NOT NULL,
    -- The key under which secrets are hashed.
    hash_key BLOB
) STRICT;
INSERT INTO provisioner VALUES (0, NULL);
