-- Events that were recorded and may come again, because nothing that comes with them has a
-- position: in parts that are filled one after the other, so that random inserts stay within
-- the newest part and old parts are dropped whole.
CREATE TABLE remembered_part (
    part   INTEGER PRIMARY KEY,
    opened INTEGER NOT NULL,
    latest INTEGER NOT NULL,
    count  INTEGER NOT NULL
) STRICT;
CREATE TABLE remembered (
    part        INTEGER NOT NULL,
    kind        INTEGER NOT NULL, -- 0 event
    id          BLOB    NOT NULL,
    at          INTEGER NOT NULL, -- in nanoseconds since 1970
    fingerprint BLOB,
    PRIMARY KEY (part, kind, id)
) STRICT, WITHOUT ROWID;
-- Of each part that is full, so that most look-ups need not read it.
CREATE TABLE remembered_filter (
    part INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
) STRICT;
-- They are listed here first, in the order in which they came, and go to the newest part
-- later, together with their neighbours.
CREATE TABLE fresh_id (
    n           INTEGER PRIMARY KEY,
    kind        INTEGER NOT NULL, -- as in `remembered`
    id          BLOB    NOT NULL,
    at          INTEGER NOT NULL,
    fingerprint BLOB
) STRICT;
