-- One row: what names this store among all, so that a cache that outlives it is never
-- taken for its own.
CREATE TABLE identity (id BLOB NOT NULL) STRICT;
INSERT INTO identity VALUES (randomblob(16));
