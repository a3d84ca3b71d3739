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
