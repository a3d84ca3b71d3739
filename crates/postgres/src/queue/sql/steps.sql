-- Steps of traces, and the end of what they tell of.

-- Stores the steps of an append that an event's row told until now.
CREATE FUNCTION pg_temp.tell(e queue.event, p_tasks text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO queue.step (at, trace, client, event_id, role, step, outcome, detail, accepted_at, tasks)
    VALUES (e.queued_at, e.trace, e.client, e.event_id, e.principal, 'appended', 'ok', e.type, e.accepted_at, p_tasks);
END $$;

-- The attempt under the present lease of the lane ended. The first one that ends stores
-- the steps of the append as well.
CREATE FUNCTION pg_temp.note_attempt(
    q queue.queue, l queue.lane, e queue.event, p_attempt bigint, p_outcome text, p_cause text, p_now bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF e.tasks <> '' THEN
        PERFORM pg_temp.tell(e, e.tasks);
        UPDATE queue.event x SET tasks = '' WHERE x.position = e.position;
    END IF;
    INSERT INTO queue.step (at, trace, client, event_id, role, step, outcome, queue, attempt, duration_us, detail)
    VALUES (p_now, e.trace, e.client, e.event_id, l.holder, 'attempt', p_outcome, q.name, p_attempt,
        p_now / 1000 - l.leased_at / 1000, p_cause);
END $$;

-- One unsettled delivery less; without any the event is gone.
CREATE FUNCTION pg_temp.unref(e queue.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF e.refs = 1 THEN
        DELETE FROM queue.event x WHERE x.position = e.position;
    ELSE
        UPDATE queue.event x SET refs = x.refs - 1 WHERE x.position = e.position;
    END IF;
END $$;

-- Moves a delivery's event to the dead letters; its row in `delivery` is the caller's.
CREATE FUNCTION pg_temp.bury(
    INOUT q queue.queue, p_key text, e queue.event, p_attempts bigint, p_cause text, p_now bigint
) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO queue.dead (queue, key, event_id, trace, accepted_at, client, type, principal, attempts, cause,
        died_at, body)
    VALUES (q.id, p_key, e.event_id, e.trace, e.accepted_at, e.client, e.type, e.principal, p_attempts, p_cause,
        p_now, e.body);
    INSERT INTO queue.step (at, trace, client, event_id, role, step, outcome, queue, attempt, detail)
    VALUES (p_now, e.trace, e.client, e.event_id, 'queue', 'dead-lettered', 'failed', q.name, p_attempts, p_cause);
    PERFORM pg_temp.unref(e);
    q.dead := q.dead + 1;
END $$;
