-- What goes to a random place of an index is listed here first, in the order in which
-- it came, and goes to the index later, together with its neighbours.
CREATE TABLE fresh_id (
    n           INTEGER PRIMARY KEY,
    kind        INTEGER NOT NULL, -- as in `remembered`
    id          BLOB    NOT NULL,
    at          INTEGER NOT NULL,
    fingerprint BLOB
) STRICT;
CREATE TABLE fresh_trace (
    n     INTEGER PRIMARY KEY, -- as in `step_trace`
    trace INTEGER NOT NULL
) STRICT;
-- Of each part that is full, so that most look-ups need not read it.
CREATE TABLE remembered_filter (
    part INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
) STRICT;
