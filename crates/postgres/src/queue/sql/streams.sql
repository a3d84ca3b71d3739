-- Streams: their reader's position, and entries that it gives up; and the pause of queues.

-- Stores a stream's lane after entries of it went away.
CREATE FUNCTION pg_temp.settle_stream(INOUT q queue.queue, l queue.lane, p_now bigint) LANGUAGE plpgsql AS $$
BEGIN
    IF l.count = 0 OR (l.state = 1 AND l.held = 0) THEN
        q := pg_temp.release(q, l, p_now);
    ELSIF l.state = 2 AND q.delayed = 0 THEN
        -- The entry that was waited for is gone: so is the pause.
        q := pg_temp.make_ready(q, l);
    ELSE
        PERFORM pg_temp.put_lane(l);
    END IF;
END $$;

-- Some entries of a stream's lane went away, in whatever state they were.
CREATE FUNCTION pg_temp.uncount(INOUT q queue.queue, INOUT l queue.lane, p_positions bigint[]) LANGUAGE plpgsql AS $$
DECLARE
    gone bigint := cardinality(p_positions);
    held bigint := 0;
    delayed bigint := 0;
BEGIN
    IF l.state = 1 THEN
        held := (SELECT count(*) FROM unnest(p_positions) p WHERE p <= l.held_to);
    ELSIF l.state = 2 AND l.head = ANY (p_positions) THEN
        delayed := 1;
    END IF;
    l.count := l.count - gone;
    l.held := l.held - held;
    q.in_flight := q.in_flight - held;
    q.delayed := q.delayed - delayed;
    q.waiting := q.waiting - (gone - held - delayed);
END $$;

-- A reader is done with everything up to a position: false, when none so high was given out.
CREATE FUNCTION pg_temp.advance(p_now bigint, p_queue integer, p_to bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    got record;
    q queue.queue;
    l queue.lane;
    gone bigint[];
BEGIN
    IF p_to > (SELECT m.position FROM queue.meta m WHERE m.id = 1) THEN
        RETURN false;
    END IF;
    SELECT * INTO l FROM queue.lane x WHERE x.queue = p_queue;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    WITH done AS (DELETE FROM queue.delivery d WHERE d.queue = p_queue AND abs(d.position) <= p_to RETURNING d.position)
        SELECT coalesce(array_agg(done.position), '{}') INTO gone FROM done;
    DELETE FROM queue.event e WHERE e.position = ANY (gone) AND e.refs = 1;
    UPDATE queue.event e SET refs = e.refs - 1 WHERE e.position = ANY (gone);
    SELECT * INTO STRICT q FROM queue.queue x WHERE x.id = p_queue;
    got := pg_temp.uncount(q, l, gone);
    q := got.q;
    l := got.l;
    l.head := greatest(l.head, p_to + 1);
    q := pg_temp.settle_stream(q, l, p_now);
    PERFORM pg_temp.put_queue(q);
    RETURN true;
END $$;

-- Dead-letters one entry: false, when there is none.
CREATE FUNCTION pg_temp.bury_entry(
    p_now bigint, p_queue integer, p_position bigint, p_attempts bigint, p_cause text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    got record;
    q queue.queue;
    l queue.lane;
    e queue.event;
BEGIN
    DELETE FROM queue.delivery d WHERE d.queue = p_queue AND abs(d.position) = p_position;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT * INTO STRICT q FROM queue.queue x WHERE x.id = p_queue;
    SELECT * INTO STRICT l FROM queue.lane x WHERE x.queue = p_queue;
    SELECT * INTO STRICT e FROM queue.event x WHERE x.position = p_position;
    -- Its stamps would have told these with its effect.
    PERFORM pg_temp.tell(e, q.name);
    q := pg_temp.bury(q, l.key, e, p_attempts, p_cause, p_now);
    got := pg_temp.uncount(q, l, ARRAY[p_position]);
    q := got.q;
    l := got.l;
    q := pg_temp.settle_stream(q, l, p_now);
    PERFORM pg_temp.put_queue(q);
    RETURN true;
END $$;

CREATE FUNCTION pg_temp.pause(p_queue integer, p_paused boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE queue.queue q SET paused = p_paused,
        stirred = CASE WHEN p_paused THEN q.stirred ELSE (SELECT m.commits FROM queue.meta m WHERE m.id = 1) END
    WHERE q.id = p_queue;
END $$;
