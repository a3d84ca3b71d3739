-- Attempts of the forwarder at endpoints. Those of one endpoint have numbers without a
-- gap, so that the oldest beyond a bound are a range.
CREATE TABLE delivery_attempt (
    endpoint    TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    -- Microseconds since 1970, as all times.
    at          INTEGER NOT NULL,
    event_id    BLOB    NOT NULL,
    event_type  TEXT    NOT NULL,
    client      TEXT    NOT NULL,
    trace       BLOB    NOT NULL,
    attempt     INTEGER NOT NULL,
    -- delivered, retry, failed
    outcome     TEXT    NOT NULL,
    -- Of the answer; null when there was none.
    status      INTEGER,
    detail      TEXT,
    -- Microseconds.
    duration    INTEGER NOT NULL,
    PRIMARY KEY (endpoint, number)
) STRICT, WITHOUT ROWID;
