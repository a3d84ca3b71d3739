-- Times are nanoseconds since 1970. `queue` is a queue's id wherever it is a number.
-- Every transaction that writes begins by changing the row of `meta`, which is the lock.

CREATE TABLE queue.meta (
    id       integer PRIMARY KEY CHECK (id = 1),
    commits  bigint  NOT NULL, -- so far: numbers them
    defined  bigint  NOT NULL, -- the commit that changed definitions last
    position bigint  NOT NULL  -- the last that was given out
) WITH (fillfactor = 50);
INSERT INTO queue.meta VALUES (1, 0, 0, 0);

-- A process that commits, and how many of its commits there are: tells it what became of
-- one whose answer was lost.
CREATE TABLE queue.node (
    id      uuid        PRIMARY KEY,
    commits bigint      NOT NULL,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE queue.queue (
    id            integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name          text    NOT NULL UNIQUE COLLATE "C",
    def           text    NOT NULL, -- JSON
    -- Of the definition, what is decided here.
    stream        boolean NOT NULL,
    attempts      bigint  NOT NULL,
    backoff_first bigint  NOT NULL,
    backoff_last  bigint  NOT NULL,
    configured    boolean NOT NULL, -- else made by a call
    gone          boolean NOT NULL, -- no longer configured, removed when empty
    paused        boolean NOT NULL,
    waiting       bigint  NOT NULL, -- deliveries; each is waiting, in flight or delayed
    in_flight     bigint  NOT NULL,
    delayed       bigint  NOT NULL,
    dead          bigint  NOT NULL,
    served        bigint  NOT NULL, -- visits so far: numbers leases, orders turns
    entered       bigint  NOT NULL, -- clients that became active since the last visit
    stirred       bigint  NOT NULL  -- the commit that made something ready last; less than 0: this one
) WITH (fillfactor = 20);
CREATE INDEX queue_gone ON queue.queue (id) WHERE gone;

-- An event, once, however many queues it is in.
CREATE TABLE queue.event (
    position    bigint  PRIMARY KEY,
    refs        integer NOT NULL, -- unsettled deliveries
    event_id    uuid    NOT NULL,
    trace       uuid    NOT NULL,
    accepted_at bigint  NOT NULL,
    queued_at   bigint  NOT NULL,
    client      text    NOT NULL COLLATE "C",
    type        text    NOT NULL,
    principal   text    NOT NULL,
    tasks       text    NOT NULL, -- the names of its task queues, joined by blanks; none: no steps to tell
    body        bytea   NOT NULL
) WITH (fillfactor = 90);
-- In parts that are filled one after the other: random inserts stay within the newest.
CREATE INDEX event_trace ON queue.event ((position >> 20), trace);

-- An unsettled delivery. The key has the segment (the position without its low bits) first, so
-- that inserts touch few pages however many lanes wait. By position a delivery is found through
-- an index of an expression: of two indexes that would both do, the planner may take the
-- one that reads all of a queue.
CREATE TABLE queue.delivery (
    queue    integer NOT NULL,
    segment  bigint  NOT NULL,
    lane     bigint  NOT NULL,
    position bigint  NOT NULL,
    attempt  bigint  NOT NULL, -- attempts that ended; one under a lease has one more
    PRIMARY KEY (queue, segment, lane, position)
);
CREATE INDEX delivery_position ON queue.delivery (queue, abs(position));

-- A lane that has deliveries. Its id is the position that opened it. Those of a stream are
-- one lane without a client.
CREATE TABLE queue.lane (
    queue      integer  NOT NULL,
    lane       bigint   NOT NULL,
    client     text     NOT NULL COLLATE "C",
    key        text     COLLATE "C", -- none: a lane of one event's own
    state      smallint NOT NULL, -- 0 ready, 1 leased, 2 delayed
    head       bigint   NOT NULL, -- its first delivery; while leased, not after that
    tail       bigint   NOT NULL, -- the last that was appended
    count      bigint   NOT NULL,
    held       bigint   NOT NULL, -- deliveries under the lease: the first, up to held_to
    held_to    bigint   NOT NULL,
    lease      bigint   NOT NULL,
    leased_at  bigint   NOT NULL,
    until      bigint   NOT NULL, -- end of the lease or of the pause
    not_before bigint   NOT NULL, -- pause to observe when the lease ends
    holder     text     NOT NULL,
    PRIMARY KEY (queue, lane)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX lane_key ON queue.lane (queue, client, key);
CREATE INDEX lane_ready ON queue.lane (queue, client, head) WHERE state = 0;
CREATE INDEX lane_timer ON queue.lane (until) WHERE state <> 0;

-- The clients that have a lane; of those with a ready one the smallest turn is served first.
CREATE TABLE queue.turn (
    queue  integer NOT NULL,
    client text    NOT NULL COLLATE "C",
    turn   bigint  NOT NULL,
    lanes  bigint  NOT NULL,
    ready  bigint  NOT NULL, -- of these
    PRIMARY KEY (queue, client)
) WITH (fillfactor = 50);
CREATE INDEX turn_order ON queue.turn (queue, turn) WHERE ready > 0;

CREATE TABLE queue.dead (
    id          bigint  PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    queue       integer NOT NULL,
    key         text, -- of its lane, as in `lane`
    event_id    uuid    NOT NULL,
    trace       uuid    NOT NULL,
    accepted_at bigint  NOT NULL,
    client      text    NOT NULL COLLATE "C",
    type        text    NOT NULL,
    principal   text    NOT NULL,
    attempts    bigint  NOT NULL,
    cause       text    NOT NULL,
    died_at     bigint  NOT NULL,
    body        bytea   NOT NULL
);
CREATE INDEX dead_queue ON queue.dead (queue, id);
CREATE INDEX dead_client ON queue.dead (client, id);
CREATE INDEX dead_trace ON queue.dead (trace);
CREATE INDEX dead_died ON queue.dead (died_at);

-- Ids that producers named, in order of arrival, found through an index in parts.
CREATE TABLE queue.remembered (
    n           bigint   PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    kind        smallint NOT NULL, -- 0 event, 1 request
    id          uuid     NOT NULL,
    at          bigint   NOT NULL,
    fingerprint bytea
);
CREATE INDEX remembered_id ON queue.remembered ((n >> 20), id, kind);

-- Steps in the order of their commits, found by trace through an index in parts. A row with
-- `accepted_at` stands for the steps of an append: `role` is who published it, `detail` its
-- type, `tasks` its task queues, `at` when it was queued.
CREATE TABLE queue.step (
    n           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at          bigint NOT NULL,
    trace       uuid   NOT NULL,
    client      text   NOT NULL,
    event_id    uuid   NOT NULL,
    role        text   NOT NULL,
    step        text   NOT NULL,
    outcome     text   NOT NULL,
    queue       text,
    attempt     bigint,
    duration_us bigint,
    detail      text,
    accepted_at bigint,
    tasks       text
);
CREATE INDEX step_trace ON queue.step ((n >> 20), trace);

-- What comes and goes is cleared away soon, and does not wait for a fifth of the table.
ALTER TABLE queue.event SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
ALTER TABLE queue.delivery SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
ALTER TABLE queue.lane SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE queue.turn SET (autovacuum_vacuum_scale_factor = 0.02);
-- Bodies are JSON that somebody waits for: no time is spent to make them smaller.
ALTER TABLE queue.event ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE queue.dead ALTER COLUMN body SET STORAGE EXTERNAL;
