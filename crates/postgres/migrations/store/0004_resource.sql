-- The objects of revisions, by which a resource leads back to its release. Revisions that are
-- there already have none: servers of before, which still run, would add such ones anyway.
CREATE TABLE store.revision_resource (
    release uuid             NOT NULL,
    number  bigint           NOT NULL,
    kind    text COLLATE "C" NOT NULL,
    name    text COLLATE "C" NOT NULL,
    PRIMARY KEY (release, number, kind, name)
);
CREATE INDEX revision_resource_name ON store.revision_resource (name, kind, release, number DESC);
