-- Times are nanoseconds since 1970. `queue` is a queue's id wherever it is a number.

CREATE TABLE queue (
    id        INTEGER PRIMARY KEY,
    name      TEXT    NOT NULL UNIQUE,
    def       TEXT    NOT NULL, -- JSON
    origin    INTEGER NOT NULL, -- 0 configuration, 1 call
    gone      INTEGER NOT NULL, -- 1: no longer configured, removed when empty
    paused    INTEGER NOT NULL,
    waiting   INTEGER NOT NULL, -- deliveries; each is waiting, in flight or delayed
    in_flight INTEGER NOT NULL,
    delayed   INTEGER NOT NULL,
    dead      INTEGER NOT NULL,
    served    INTEGER NOT NULL, -- visits so far: numbers leases, orders turns
    entered   INTEGER NOT NULL  -- clients that became active since the last visit
) STRICT;

-- No position up to `reserved` is given out again. Raised in blocks, so that
-- it costs nothing.
CREATE TABLE meta (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    reserved INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 0);

-- An event, once, however many queues it is in. Small columns before the body,
-- so that reading them does not follow the body's overflow pages.
CREATE TABLE event (
    position    INTEGER PRIMARY KEY,
    refs        INTEGER NOT NULL, -- unsettled deliveries
    event_id    BLOB    NOT NULL,
    trace       BLOB    NOT NULL,
    accepted_at INTEGER NOT NULL,
    client      TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    body        BLOB    NOT NULL
) STRICT;

-- An unsettled delivery. The segment (the position without its low bits) comes
-- first, so that inserts touch few pages however many lanes wait.
CREATE TABLE delivery (
    queue    INTEGER NOT NULL,
    segment  INTEGER NOT NULL,
    lane     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    attempt  INTEGER NOT NULL, -- attempts that ended; one under a lease has one more
    PRIMARY KEY (queue, segment, lane, position)
) STRICT, WITHOUT ROWID;

-- A lane that has deliveries. Its id is the position that opened it. A stream's
-- lane is 0 and has a row only while it is leased or delayed.
CREATE TABLE lane (
    queue      INTEGER NOT NULL,
    lane       INTEGER NOT NULL,
    client     TEXT    NOT NULL,
    key        TEXT,             -- none: a lane of one event's own
    state      INTEGER NOT NULL, -- 0 ready, 1 leased, 2 delayed
    head       INTEGER NOT NULL, -- its first delivery; while leased, not after that
    tail       INTEGER NOT NULL, -- the last that was appended
    count      INTEGER NOT NULL,
    held       INTEGER NOT NULL, -- deliveries under the lease: the first, up to held_to
    held_to    INTEGER NOT NULL,
    lease      INTEGER NOT NULL,
    leased_at  INTEGER NOT NULL,
    until      INTEGER NOT NULL, -- end of the lease or of the pause
    not_before INTEGER NOT NULL, -- pause to observe when the lease ends
    holder     TEXT    NOT NULL,
    PRIMARY KEY (queue, lane)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX lane_key ON lane (queue, client, key);
CREATE INDEX lane_ready ON lane (queue, client, head) WHERE state = 0;
CREATE INDEX lane_timer ON lane (until) WHERE state <> 0;

-- The clients that have a lane; of those with a ready one the smallest turn is
-- served first.
CREATE TABLE turn (
    queue  INTEGER NOT NULL,
    client TEXT    NOT NULL,
    turn   INTEGER NOT NULL,
    lanes  INTEGER NOT NULL,
    ready  INTEGER NOT NULL, -- of these
    PRIMARY KEY (queue, client)
) STRICT, WITHOUT ROWID;
CREATE INDEX turn_order ON turn (queue, turn) WHERE ready > 0;

CREATE TABLE dead (
    id          INTEGER PRIMARY KEY AUTOINCREMENT, -- never given out again
    queue       INTEGER NOT NULL,
    key         TEXT,             -- of its lane, as in `lane`
    event_id    BLOB    NOT NULL,
    trace       BLOB    NOT NULL,
    accepted_at INTEGER NOT NULL,
    client      TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    cause       TEXT    NOT NULL,
    died_at     INTEGER NOT NULL,
    body        BLOB    NOT NULL
) STRICT;
CREATE INDEX dead_queue ON dead (queue);
CREATE INDEX dead_client ON dead (client);
CREATE INDEX dead_trace ON dead (trace);
CREATE INDEX dead_died ON dead (died_at);

-- Ids that producers named, in parts that are filled one after the other:
-- random inserts stay within the newest part, old parts are dropped whole.
CREATE TABLE remembered_part (
    part   INTEGER PRIMARY KEY,
    opened INTEGER NOT NULL,
    latest INTEGER NOT NULL,
    count  INTEGER NOT NULL
) STRICT;
CREATE TABLE remembered (
    part        INTEGER NOT NULL,
    kind        INTEGER NOT NULL, -- 0 event, 1 request
    id          BLOB    NOT NULL,
    at          INTEGER NOT NULL,
    fingerprint BLOB,
    PRIMARY KEY (part, kind, id)
) STRICT, WITHOUT ROWID;

-- Steps in the order of their commits, found by trace through an index in
-- parts, for the same reason.
CREATE TABLE step (
    n      INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    trace  BLOB    NOT NULL,
    client TEXT    NOT NULL,
    steps  TEXT    NOT NULL -- JSON
) STRICT;
CREATE TABLE step_trace (
    part  INTEGER NOT NULL,
    trace INTEGER NOT NULL, -- its first eight bytes
    n     INTEGER NOT NULL,
    PRIMARY KEY (part, trace, n)
) STRICT, WITHOUT ROWID;
