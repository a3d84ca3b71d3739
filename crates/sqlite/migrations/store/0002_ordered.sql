-- Releases with an unfinished order are claimed before the others: 1 where there is one.
ALTER TABLE release_work ADD COLUMN ordered INTEGER NOT NULL DEFAULT 0;
UPDATE release_work SET ordered = 1
WHERE EXISTS (SELECT 1 FROM release_order o WHERE o.release = release_work.release AND o.open = 1);

-- How many releases of a target were claimed so far: turns are counted in it.
CREATE TABLE target_claims (
    target TEXT    NOT NULL PRIMARY KEY,
    claims INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO target_claims
SELECT DISTINCT t.target, p.claims FROM release_turn t CROSS JOIN provisioner p;
ALTER TABLE provisioner DROP COLUMN claims;

DROP INDEX release_work_at;
CREATE INDEX release_work_at ON release_work (target, client, ordered, at) WHERE at IS NOT NULL;

-- The turns of clients. A claim marks those of whom something is due and takes
-- the one that was served longest ago, so that it looks neither through clients
-- of whom nothing is due nor through their releases. Of each client two on each target:
-- of its releases with an unfinished order, and of its others.
CREATE TABLE release_turns (
    target  TEXT    NOT NULL,
    client  TEXT    NOT NULL,
    ordered INTEGER NOT NULL,
    -- When the client was served last on the target, counted in claims; on both the same.
    turn    INTEGER NOT NULL,
    -- The earliest "at" of its releases of this kind on the target.
    at      INTEGER,
    -- 1 when a claim saw that this moment has come.
    ready   INTEGER NOT NULL,
    PRIMARY KEY (target, client, ordered)
) STRICT, WITHOUT ROWID;
INSERT INTO release_turns
SELECT t.target, t.client, kind.ordered, t.turn, (
    SELECT w.at FROM release_work w
    WHERE w.target = t.target AND w.client = t.client AND w.ordered = kind.ordered AND w.at IS NOT NULL
    ORDER BY w.at LIMIT 1
), 0
FROM release_turn t CROSS JOIN (SELECT 0 AS ordered UNION ALL SELECT 1) kind;
DROP TABLE release_turn;
ALTER TABLE release_turns RENAME TO release_turn;
CREATE INDEX release_turn_at ON release_turn (target, at) WHERE ready = 0 AND at IS NOT NULL;
CREATE INDEX release_turn_ready ON release_turn (target, ordered, turn, client) WHERE ready = 1;
