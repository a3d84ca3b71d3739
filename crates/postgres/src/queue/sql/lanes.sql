-- Lanes and the queues' rows, as the other functions change them. A queue's row is taken
-- once, changed in hand, and put back once: a row that is changed a thousand times in one
-- transaction is a thousand rows to step over.

-- Stores what a function changed of a queue's row.
CREATE FUNCTION pg_temp.put_queue(q queue.queue) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE queue.queue SET paused = q.paused, waiting = q.waiting, in_flight = q.in_flight, delayed = q.delayed,
        dead = q.dead, served = q.served, entered = q.entered,
        stirred = CASE WHEN q.stirred < 0 THEN (SELECT m.commits FROM queue.meta m WHERE m.id = 1) ELSE q.stirred END
    WHERE id = q.id;
END $$;

-- Stores a lane that has deliveries. Its tail is the append's alone.
CREATE FUNCTION pg_temp.put_lane(l queue.lane) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE queue.lane SET state = l.state, head = l.head, count = l.count, held = l.held, held_to = l.held_to,
        lease = l.lease, leased_at = l.leased_at, until = l.until, not_before = l.not_before, holder = l.holder
    WHERE queue = l.queue AND lane = l.lane;
END $$;

-- The first unsettled delivery of a lane from `p_from` to `p_to`, and how many of its
-- attempts ended. Steps over the segments between, as far as they hold anything of the queue.
CREATE FUNCTION pg_temp.first_delivery(
    p_queue integer, p_lane bigint, p_from bigint, p_to bigint, OUT o_position bigint, OUT o_attempt bigint
) LANGUAGE plpgsql AS $$
DECLARE
    here bigint := p_from >> 16;
BEGIN
    WHILE here <= p_to >> 16 LOOP
        SELECT d.position, d.attempt INTO o_position, o_attempt FROM queue.delivery d
        WHERE d.queue = p_queue AND d.segment = here AND d.lane = p_lane AND d.position BETWEEN p_from AND p_to
        ORDER BY d.queue, d.segment, d.lane, d.position LIMIT 1;
        IF FOUND THEN
            RETURN;
        END IF;
        here := pg_temp.segment_after(p_queue, here);
    END LOOP;
END $$;

-- The next segment that holds anything of the queue.
CREATE FUNCTION pg_temp.segment_after(p_queue integer, p_segment bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN (
        SELECT d.segment FROM queue.delivery d WHERE d.queue = p_queue AND d.segment > p_segment
        ORDER BY d.queue, d.segment LIMIT 1
    );
END $$;

-- Makes a lane ready whose head is right.
CREATE FUNCTION pg_temp.make_ready(INOUT q queue.queue, l queue.lane) LANGUAGE plpgsql AS $$
BEGIN
    l.state := 0;
    l.until := 0;
    l.not_before := 0;
    l.holder := '';
    q.stirred := -1;
    IF NOT q.stream THEN
        UPDATE queue.turn t SET ready = t.ready + 1 WHERE t.queue = l.queue AND t.client = l.client;
    END IF;
    PERFORM pg_temp.put_lane(l);
END $$;

-- After the last held delivery of a lane was settled or returned: the lane becomes ready or
-- delayed, or disappears.
CREATE FUNCTION pg_temp.release(INOUT q queue.queue, l queue.lane, p_now bigint) LANGUAGE plpgsql AS $$
BEGIN
    IF l.count = 0 THEN
        DELETE FROM queue.lane x WHERE x.queue = l.queue AND x.lane = l.lane;
        IF NOT q.stream THEN
            DELETE FROM queue.turn t WHERE t.queue = l.queue AND t.client = l.client AND t.lanes = 1;
            IF NOT FOUND THEN
                UPDATE queue.turn t SET lanes = t.lanes - 1 WHERE t.queue = l.queue AND t.client = l.client;
            END IF;
        END IF;
        RETURN;
    END IF;
    l.head := (pg_temp.first_delivery(l.queue, l.lane, l.head, l.tail)).o_position;
    IF l.head IS NULL THEN
        RAISE data_corrupted USING MESSAGE = format('lane %s has %s deliveries but no first', l.lane, l.count);
    END IF;
    IF l.not_before > p_now THEN
        q.waiting := q.waiting - 1;
        q.delayed := q.delayed + 1;
        l.state := 2;
        l.until := l.not_before;
        l.not_before := 0;
        PERFORM pg_temp.put_lane(l);
    ELSE
        q := pg_temp.make_ready(q, l);
    END IF;
END $$;

-- Puts stored events at the ends of their lanes; a null key is a lane of its own.
CREATE FUNCTION pg_temp.deliver(
    d_queue integer[], d_position bigint[], d_client text[], d_key text[], d_stream boolean[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    lanes bigint[];
    -- What was opened before is below it.
    first bigint;
BEGIN
    first := (SELECT min(p) FROM unnest(d_position) p);
    lanes := ARRAY(
        SELECT CASE WHEN d.key IS NULL THEN d.position ELSE coalesce(
            (SELECT l.lane FROM queue.lane l WHERE l.queue = d.queue AND l.client = d.client AND l.key = d.key),
            min(d.position) OVER (PARTITION BY d.queue, d.client, d.key)
        ) END
        FROM unnest(d_queue, d_position, d_client, d_key) WITH ORDINALITY d(queue, position, client, key, o)
        ORDER BY d.o
    );
    INSERT INTO queue.delivery (queue, segment, lane, position, attempt)
        SELECT d.queue, d.position >> 16, d.lane, d.position, 0
        FROM unnest(d_queue, d_position, lanes) d(queue, position, lane);
    UPDATE queue.lane l SET tail = g.tail, count = l.count + g.count
        FROM (
            SELECT d.queue, d.lane, max(d.position) AS tail, count(*) AS count
            FROM unnest(d_queue, d_position, lanes) d(queue, position, lane)
            WHERE d.lane < first GROUP BY d.queue, d.lane
        ) g WHERE l.queue = g.queue AND l.lane = g.lane;
    INSERT INTO queue.lane (queue, lane, client, key, state, head, tail, count, held, held_to, lease, leased_at,
            until, not_before, holder)
        SELECT d.queue, d.lane, min(d.client), min(d.key), 0, d.lane, max(d.position), count(*), 0, 0, 0, 0, 0, 0, ''
        FROM unnest(d_queue, d_position, d_client, d_key, lanes) d(queue, position, client, key, lane)
        WHERE d.lane >= first GROUP BY d.queue, d.lane;
    -- Clients that have new lanes; a new client goes before the one served last and behind
    -- those that wait longer.
    UPDATE queue.turn t SET lanes = t.lanes + g.count, ready = t.ready + g.count
        FROM (
            SELECT d.queue, d.client, count(DISTINCT d.lane) AS count
            FROM unnest(d_queue, d_client, d_stream, lanes) d(queue, client, stream, lane)
            WHERE d.lane >= first AND NOT d.stream GROUP BY d.queue, d.client
        ) g WHERE t.queue = g.queue AND t.client = g.client;
    WITH new AS (
        INSERT INTO queue.turn (queue, client, turn, lanes, ready)
        SELECT g.queue, g.client,
            (SELECT (q.served << 20) + least(q.entered + g.place, (1 << 20) - 2) FROM queue.queue q WHERE q.id = g.queue),
            g.count, g.count
        FROM (
            SELECT d.queue, d.client, count(DISTINCT d.lane) AS count,
                row_number() OVER (PARTITION BY d.queue ORDER BY min(d.position)) - 1 AS place
            FROM unnest(d_queue, d_position, d_client, d_stream, lanes) d(queue, position, client, stream, lane)
            WHERE d.lane >= first AND NOT d.stream
                AND NOT EXISTS (SELECT FROM queue.turn t WHERE t.queue = d.queue AND t.client = d.client)
            GROUP BY d.queue, d.client
        ) g
        RETURNING queue
    ), counts AS (
        SELECT c.queue, sum(c.waiting) AS waiting, sum(c.entered) AS entered FROM (
            SELECT d AS queue, 1 AS waiting, 0 AS entered FROM unnest(d_queue) d
            UNION ALL SELECT new.queue, 0, 1 FROM new
        ) c GROUP BY c.queue
    )
    UPDATE queue.queue q SET waiting = q.waiting + counts.waiting, entered = q.entered + counts.entered,
        stirred = (SELECT m.commits FROM queue.meta m WHERE m.id = 1)
    FROM counts WHERE q.id = counts.queue;
END $$;
