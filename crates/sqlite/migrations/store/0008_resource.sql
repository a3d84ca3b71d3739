-- The objects of revisions, by which a resource leads back to its release. Of revisions that
-- are there they are those that their content holds and whose names are no longer than any may be.
CREATE TABLE revision_resource (
    release BLOB    NOT NULL,
    number  INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    PRIMARY KEY (release, number, kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX revision_resource_name ON revision_resource (name, kind, release, number DESC);
INSERT OR IGNORE INTO revision_resource (release, number, kind, name)
SELECT v.release, v.number, m.value ->> '$.kind', m.value ->> '$.metadata.name'
FROM revision v, json_each(v.content, '$.manifests') m
WHERE m.type = 'object' AND json_type(m.value, '$.kind') = 'text' AND json_type(m.value, '$.metadata.name') = 'text'
    AND m.value ->> '$.kind' <> '' AND m.value ->> '$.metadata.name' <> ''
    AND length(CAST((m.value ->> '$.kind') || (m.value ->> '$.metadata.name') AS BLOB)) <= 512;
