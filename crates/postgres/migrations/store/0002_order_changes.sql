-- How many changes of orders and releases there were: processes that share the database
-- look whether it grew.
CREATE TABLE store.order_changes (
    id     integer PRIMARY KEY CHECK (id = 1),
    number bigint  NOT NULL
);
INSERT INTO store.order_changes VALUES (1, 0);
