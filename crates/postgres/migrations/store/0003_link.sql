-- Which events caused which. The cause may be an event of which nothing but its id is known.
CREATE TABLE store.link (
    effect uuid NOT NULL,
    cause uuid NOT NULL,
    at timestamptz NOT NULL,
    client text NOT NULL COLLATE "C",
    trace uuid NOT NULL,
    type text NOT NULL COLLATE "C",
    cause_client text COLLATE "C",
    cause_trace uuid,
    cause_type text COLLATE "C",
    made_by text NOT NULL,
    PRIMARY KEY (effect, cause)
);
CREATE INDEX link_cause ON store.link (cause);
CREATE INDEX link_at ON store.link (at);
