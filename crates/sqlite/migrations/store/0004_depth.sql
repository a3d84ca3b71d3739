-- How many rules in a row led to an order: what tells of it carries the number on, so that
-- a circle of rules and orders ends.
ALTER TABLE release_order ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;
