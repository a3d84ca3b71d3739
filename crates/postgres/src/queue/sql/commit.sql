-- The beginning and the end of every commit.

-- Takes the lock, numbers the commit, and notes it for its node. Fails when the definitions
-- are others than the caller knows.
CREATE FUNCTION pg_temp.begin_commit(p_node uuid, p_number bigint, p_defined bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    m queue.meta;
BEGIN
    UPDATE queue.meta x SET commits = x.commits + 1 WHERE x.id = 1 RETURNING x.* INTO m;
    IF m.defined <> p_defined THEN
        RAISE EXCEPTION USING ERRCODE = 'OWDEF', MESSAGE = 'the definitions changed';
    END IF;
    UPDATE queue.node x SET commits = p_number, seen_at = now() WHERE x.id = p_node;
    IF NOT FOUND THEN
        INSERT INTO queue.node VALUES (p_node, p_number, now());
    END IF;
END $$;

-- Drops queues that are bound to nothing and empty, tells other processes when something
-- became ready, and answers what the commit did as a whole.
CREATE FUNCTION pg_temp.end_commit(
    p_node uuid, OUT o_number bigint, OUT o_ready text[], OUT o_next_expiry bigint
) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM queue.queue q WHERE q.gone AND q.waiting + q.in_flight + q.delayed + q.dead = 0;
    IF FOUND THEN
        UPDATE queue.meta m SET defined = m.commits WHERE m.id = 1;
    END IF;
    o_number := (SELECT m.commits FROM queue.meta m WHERE m.id = 1);
    o_ready := ARRAY(SELECT q.name FROM queue.queue q WHERE q.stirred = o_number ORDER BY q.name);
    o_next_expiry := (SELECT l.until FROM queue.lane l WHERE l.state <> 0 ORDER BY l.until LIMIT 1);
    IF o_ready <> '{}' OR EXISTS (SELECT FROM queue.meta m WHERE m.defined = o_number) THEN
        PERFORM pg_notify('orderwire_queue', p_node::text);
    END IF;
END $$;

-- Makes queues exist; with `p_configured`, one of the configuration that is not among them
-- is bound to nothing from now on, unless another session says that it configures it too
-- (`p_class` is the class of these locks); those are told. The name of one that holds
-- deliveries and is of the other kind, and nothing else, if there is one.
CREATE FUNCTION pg_temp.declare_queues(
    p_configured boolean, d_name text[], d_def text[], d_stream boolean[], d_attempts bigint[], d_first bigint[],
    d_last bigint[], p_unbound text[], p_unbound_def text[], p_class integer, OUT o_other text, OUT o_kept text[]
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT q.name INTO o_other FROM unnest(d_name, d_stream) d(name, stream)
        JOIN queue.queue q ON q.name = d.name
        WHERE q.stream <> d.stream AND q.waiting + q.in_flight + q.delayed > 0 LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;
    IF p_configured THEN
        o_kept := ARRAY(SELECT u.name FROM unnest(p_unbound) u(name)
            WHERE NOT pg_try_advisory_xact_lock(p_class, hashtext(u.name)));
        UPDATE queue.queue q SET gone = true, def = u.def FROM unnest(p_unbound, p_unbound_def) u(name, def)
            WHERE q.name = u.name AND q.name <> ALL (o_kept);
    END IF;
    INSERT INTO queue.queue AS q (name, def, stream, attempts, backoff_first, backoff_last, configured, gone, paused,
            waiting, in_flight, delayed, dead, served, entered, stirred)
        SELECT d.name, d.def, d.stream, d.attempts, d.first, d.last, p_configured, false, false, 0, 0, 0, 0, 0, 0, 0
        FROM unnest(d_name, d_def, d_stream, d_attempts, d_first, d_last) d(name, def, stream, attempts, first, last)
        ON CONFLICT (name) DO UPDATE SET def = excluded.def, stream = excluded.stream, attempts = excluded.attempts,
            backoff_first = excluded.backoff_first, backoff_last = excluded.backoff_last,
            configured = excluded.configured, gone = false;
    UPDATE queue.meta m SET defined = m.commits WHERE m.id = 1;
END $$;
