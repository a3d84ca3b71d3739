-- An event's row tells the steps of its append until its first attempt ends:
-- they need no row of their own while it waits.
CREATE TABLE event_told (
    position    INTEGER PRIMARY KEY,
    refs        INTEGER NOT NULL, -- unsettled deliveries
    event_id    BLOB    NOT NULL,
    trace       BLOB    NOT NULL,
    accepted_at INTEGER NOT NULL,
    queued_at   INTEGER NOT NULL,
    client      TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    principal   TEXT    NOT NULL,
    tasks       BLOB    NOT NULL, -- its task queues, four bytes each; none: no steps to tell
    body        BLOB    NOT NULL
) STRICT;
-- The steps of these were stored with them.
INSERT INTO event_told
    SELECT position, refs, event_id, trace, accepted_at, accepted_at, client, type, '', x'', body FROM event;
DROP TABLE event;
ALTER TABLE event_told RENAME TO event;
