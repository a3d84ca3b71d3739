-- Which events caused which, by the day on which that was noted: ids are at random, so that
-- only the days of the present are in memory while they are written. The cause may be an event
-- of which nothing but its id is known.
CREATE TABLE link_part (part INTEGER NOT NULL PRIMARY KEY) STRICT;
CREATE TABLE link (
    part INTEGER NOT NULL,
    effect BLOB NOT NULL,
    cause BLOB NOT NULL,
    at INTEGER NOT NULL,
    client TEXT NOT NULL,
    trace BLOB NOT NULL,
    type TEXT NOT NULL,
    cause_client TEXT,
    cause_trace BLOB,
    cause_type TEXT,
    made_by TEXT NOT NULL,
    PRIMARY KEY (part, effect, cause)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_cause ON link (part, cause, effect);
