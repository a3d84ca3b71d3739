-- Dead letters, and what is past its retention.

-- Puts dead letters back at the ends of their queues, in this order: how many there were.
CREATE FUNCTION pg_temp.replay(p_now bigint, p_ids bigint[], p_principal text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    base bigint;
    count bigint;
    positions bigint[];
    queues integer[];
    clients text[];
    keys text[];
    streams boolean[];
BEGIN
    base := pg_temp.give_positions((SELECT count(*) FROM queue.dead d WHERE d.id = ANY (p_ids)));
    WITH letter AS (
        DELETE FROM queue.dead d USING (
            SELECT i.id, min(i.o) AS o FROM unnest(p_ids) WITH ORDINALITY i(id, o) GROUP BY i.id
        ) i WHERE d.id = i.id RETURNING d.*, i.o
    ), placed AS (
        SELECT letter.*, base + row_number() OVER (ORDER BY letter.o) AS position FROM letter
    ), put AS (
        INSERT INTO queue.event (position, refs, event_id, trace, accepted_at, queued_at, client, type, principal,
            tasks, body)
        SELECT p.position, 1, p.event_id, p.trace, p.accepted_at, p_now, p.client, p.type, p.principal, '', p.body
        FROM placed p
    ), told AS (
        INSERT INTO queue.step (at, trace, client, event_id, role, step, outcome, queue)
        SELECT p_now, p.trace, p.client, p.event_id, p_principal, 'replayed', 'ok',
            (SELECT q.name FROM queue.queue q WHERE q.id = p.queue)
        FROM placed p ORDER BY p.position
    )
    SELECT array_agg(p.position), array_agg(p.queue), array_agg(CASE WHEN s.stream THEN '' ELSE p.client END),
            array_agg(CASE WHEN s.stream THEN '' ELSE p.key END), array_agg(s.stream)
        INTO positions, queues, clients, keys, streams
        FROM placed p, LATERAL (SELECT q.stream FROM queue.queue q WHERE q.id = p.queue) s;
    count := coalesce(cardinality(positions), 0);
    IF count > 0 THEN
        UPDATE queue.queue q SET dead = q.dead - g.count
            FROM (SELECT u AS queue, count(*) AS count FROM unnest(queues) u GROUP BY u) g WHERE q.id = g.queue;
        PERFORM pg_temp.deliver(queues, positions, clients, keys, streams);
    END IF;
    RETURN count;
END $$;

-- Other content of a dead letter: 0 there is none, 1 it is another one by now, 2 done.
CREATE FUNCTION pg_temp.edit(
    p_now bigint, p_id bigint, p_clients text[], p_seen bytea, p_body bytea, p_principal text, p_reason text
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    d queue.dead;
BEGIN
    SELECT * INTO d FROM queue.dead x WHERE x.id = p_id AND (p_clients IS NULL OR x.client = ANY (p_clients));
    IF NOT FOUND THEN
        RETURN 0;
    ELSIF d.body <> p_seen THEN
        RETURN 1;
    END IF;
    UPDATE queue.dead x SET body = p_body WHERE x.id = p_id;
    INSERT INTO queue.step (at, trace, client, event_id, role, step, outcome, queue, detail)
    VALUES (p_now, d.trace, d.client, d.event_id, p_principal, 'edited', 'ok',
        (SELECT q.name FROM queue.queue q WHERE q.id = d.queue), p_reason);
    RETURN 2;
END $$;

-- Forgets dead letters: how many there were.
CREATE FUNCTION pg_temp.discard(
    p_now bigint, p_ids bigint[], p_principal text, p_reason text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    queues integer[];
BEGIN
    WITH letter AS (
        DELETE FROM queue.dead d WHERE d.id = ANY (p_ids) RETURNING d.id, d.queue, d.trace, d.client, d.event_id
    ), told AS (
        INSERT INTO queue.step (at, trace, client, event_id, role, step, outcome, queue, detail)
        SELECT p_now, d.trace, d.client, d.event_id, p_principal, 'discarded', 'ok',
            (SELECT q.name FROM queue.queue q WHERE q.id = d.queue), p_reason
        FROM letter d ORDER BY d.id
    )
    SELECT coalesce(array_agg(letter.queue), '{}') INTO queues FROM letter;
    PERFORM pg_temp.count_gone(queues);
    RETURN cardinality(queues);
END $$;

-- Counts dead letters of these queues less.
CREATE FUNCTION pg_temp.count_gone(p_queues integer[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE queue.queue q SET dead = q.dead - g.count
        FROM (SELECT u AS queue, count(*) AS count FROM unnest(p_queues) u GROUP BY u) g WHERE q.id = g.queue;
END $$;

-- Drops what is past its retention, at most so many rows of each: how many there were.
CREATE FUNCTION pg_temp.sweep(
    p_remembered_before bigint, p_steps_before bigint, p_dead_before bigint, p_limit bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    dropped bigint;
    count bigint := 0;
    queues integer[];
BEGIN
    DELETE FROM queue.remembered r
        WHERE r.n = ANY (ARRAY(SELECT x.n FROM queue.remembered x ORDER BY x.n LIMIT p_limit))
            AND r.at < p_remembered_before;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    count := count + dropped;
    DELETE FROM queue.step s
        WHERE s.n = ANY (ARRAY(SELECT x.n FROM queue.step x ORDER BY x.n LIMIT p_limit)) AND s.at < p_steps_before;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    count := count + dropped;
    WITH letter AS (
        DELETE FROM queue.dead d WHERE d.id = ANY (ARRAY(
            SELECT x.id FROM queue.dead x WHERE x.died_at < p_dead_before ORDER BY x.died_at LIMIT p_limit
        )) RETURNING d.queue
    )
    SELECT coalesce(array_agg(letter.queue), '{}') INTO queues FROM letter;
    PERFORM pg_temp.count_gone(queues);
    RETURN count + cardinality(queues);
END $$;
