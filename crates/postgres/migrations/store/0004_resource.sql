-- The objects of revisions, by which a resource leads back to its release. Of revisions that
-- are there they are those that their content holds; one that holds a NUL cannot be looked into.
CREATE TABLE store.revision_resource (
    release uuid             NOT NULL,
    number  bigint           NOT NULL,
    kind    text COLLATE "C" NOT NULL,
    name    text COLLATE "C" NOT NULL,
    PRIMARY KEY (release, number, kind, name)
);
CREATE INDEX revision_resource_name ON store.revision_resource (name, kind, release, number DESC);
INSERT INTO store.revision_resource (release, number, kind, name)
SELECT DISTINCT v.release, v.number, m.object ->> 'kind', m.object #>> '{metadata,name}'
FROM (
    SELECT release, number,
        CASE WHEN strpos(content, '\u0000') = 0 THEN content::json -> 'manifests' END AS manifests
    FROM store.revision
) v
CROSS JOIN LATERAL json_array_elements(
    CASE WHEN json_typeof(v.manifests) = 'array' THEN v.manifests ELSE '[]'::json END
) AS m (object)
WHERE json_typeof(m.object) = 'object' AND m.object ->> 'kind' IS NOT NULL
    AND m.object #>> '{metadata,name}' IS NOT NULL;
