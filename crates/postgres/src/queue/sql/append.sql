-- Events in.

-- The parts of the index of remembered ids that hold anything.
CREATE FUNCTION pg_temp.remembered_parts() RETURNS bigint[] LANGUAGE plpgsql AS $$
BEGIN
    RETURN ARRAY(SELECT generate_series(
        (SELECT r.n >> 20 FROM queue.remembered r ORDER BY r.n LIMIT 1),
        (SELECT r.n >> 20 FROM queue.remembered r ORDER BY r.n DESC LIMIT 1)
    ));
END $$;

-- Of each of these ids, in order, whether it did not come before; those are remembered now.
-- A null one is always new; one that is not wanted is not, and not remembered.
CREATE FUNCTION pg_temp.recall(p_ids uuid[], p_wanted boolean[], p_now bigint) RETURNS boolean[]
LANGUAGE plpgsql AS $$
DECLARE
    parts bigint[];
    new boolean[];
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(p_ids) i WHERE i IS NOT NULL) THEN
        RETURN p_wanted;
    END IF;
    parts := pg_temp.remembered_parts();
    new := ARRAY(
        SELECT i.wanted AND (i.id IS NULL OR (
            -- Not as NOT EXISTS: that may be planned as a table of all of them.
            row_number() OVER (PARTITION BY i.id, i.wanted ORDER BY i.o) = 1 AND (
                SELECT r.n FROM queue.remembered r
                WHERE (r.n >> 20) = ANY (parts) AND r.id = i.id AND r.kind = 0 LIMIT 1
            ) IS NULL
        ))
        FROM unnest(p_ids, p_wanted) WITH ORDINALITY i(id, wanted, o) ORDER BY i.o
    );
    INSERT INTO queue.remembered (kind, id, at)
        SELECT 0, i.id, p_now FROM unnest(p_ids, new) i(id, new) WHERE i.new AND i.id IS NOT NULL;
    RETURN new;
END $$;

-- Of each of these requests, in order: 0 it is new, 1 it came before, 2 it did with another
-- fingerprint. A null one is always new; a new one is remembered now.
CREATE FUNCTION pg_temp.recall_requests(p_ids uuid[], p_fingerprints bytea[], p_now bigint) RETURNS integer[]
LANGUAGE plpgsql AS $$
DECLARE
    parts bigint[] := pg_temp.remembered_parts();
    known bytea;
    answers integer[] := '{}';
BEGIN
    FOR i IN 1 .. cardinality(p_ids) LOOP
        IF p_ids[i] IS NULL THEN
            answers := answers || 0;
            CONTINUE;
        END IF;
        SELECT r.fingerprint INTO known FROM queue.remembered r
        WHERE (r.n >> 20) = ANY (parts) AND r.id = p_ids[i] AND r.kind = 1 LIMIT 1;
        IF FOUND THEN
            answers := answers || CASE WHEN known = p_fingerprints[i] THEN 1 ELSE 2 END;
        ELSE
            INSERT INTO queue.remembered (kind, id, at, fingerprint) VALUES (1, p_ids[i], p_now, p_fingerprints[i]);
            parts := pg_temp.remembered_parts();
            answers := answers || 0;
        END IF;
    END LOOP;
    RETURN answers;
END $$;

-- Gives out this many positions; the one before the first.
CREATE FUNCTION pg_temp.give_positions(p_count bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
BEGIN
    UPDATE queue.meta m SET position = m.position + p_count WHERE m.id = 1 RETURNING m.position INTO last;
    RETURN last - p_count;
END $$;

-- Appends the entries of some appends. Entries name theirs by its index, deliveries their
-- entry, from 1. What became of each append (as `recall_requests` says), and of each entry
-- whether it is new.
CREATE FUNCTION pg_temp.append(
    p_now bigint, r_id uuid[], r_fingerprint bytea[],
    e_append integer[], e_id uuid[], e_remembered uuid[], e_type text[], e_client text[], e_trace uuid[],
    e_accepted_at bigint[], e_principal text[], e_tasks text[], e_refs integer[], e_body bytea[],
    d_entry integer[], d_queue integer[], d_client text[], d_key text[], d_stream boolean[],
    OUT o_appends integer[], OUT o_new boolean[]
) LANGUAGE plpgsql AS $$
DECLARE
    base bigint;
    positions bigint[];
    d_position bigint[];
BEGIN
    o_appends := pg_temp.recall_requests(r_id, r_fingerprint, p_now);
    o_new := pg_temp.recall(
        e_remembered,
        ARRAY(SELECT o_appends[e.append] = 0 FROM unnest(e_append) WITH ORDINALITY e(append, o) ORDER BY e.o),
        p_now
    );
    base := pg_temp.give_positions((SELECT count(*) FROM unnest(o_new) n WHERE n));
    positions := ARRAY(
        SELECT CASE WHEN e.new THEN base + count(*) FILTER (WHERE e.new) OVER (ORDER BY e.o) ELSE 0 END
        FROM unnest(o_new) WITH ORDINALITY e(new, o) ORDER BY e.o
    );
    INSERT INTO queue.event (position, refs, event_id, trace, accepted_at, queued_at, client, type, principal, tasks,
            body)
        SELECT e.position, e.refs, e.id, e.trace, e.accepted_at, p_now, e.client, e.type, e.principal, e.tasks, e.body
        FROM unnest(positions, e_refs, e_id, e_trace, e_accepted_at, e_client, e_type, e_principal, e_tasks, e_body)
            e(position, refs, id, trace, accepted_at, client, type, principal, tasks, body)
        WHERE e.position > 0;
    SELECT array_agg(d.queue), array_agg(positions[d.entry]), array_agg(d.client), array_agg(d.key),
            array_agg(d.stream)
        INTO d_queue, d_position, d_client, d_key, d_stream
        FROM unnest(d_entry, d_queue, d_client, d_key, d_stream) d(entry, queue, client, key, stream)
        WHERE positions[d.entry] > 0;
    IF d_queue IS NOT NULL THEN
        PERFORM pg_temp.deliver(d_queue, d_position, d_client, d_key, d_stream);
    END IF;
END $$;

-- What can never be a delivery of its queue: whether it is new.
CREATE FUNCTION pg_temp.reject(
    p_now bigint, p_queue integer, p_key text, p_cause text, p_id uuid, p_remembered uuid, p_type text, p_client text,
    p_trace uuid, p_accepted_at bigint, p_principal text, p_body bytea
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    q queue.queue;
    e queue.event;
BEGIN
    IF NOT (pg_temp.recall(ARRAY[p_remembered], ARRAY[true], p_now))[1] THEN
        RETURN false;
    END IF;
    SELECT * INTO STRICT q FROM queue.queue x WHERE x.id = p_queue;
    e.position := 0; -- It has none: nobody reads it.
    e.refs := 1;
    e.event_id := p_id;
    e.trace := p_trace;
    e.accepted_at := p_accepted_at;
    e.queued_at := p_now;
    e.client := p_client;
    e.type := p_type;
    e.principal := p_principal;
    e.body := p_body;
    PERFORM pg_temp.tell(e, '');
    -- To read it was one attempt.
    q := pg_temp.bury(q, p_key, e, 1, p_cause, p_now);
    PERFORM pg_temp.put_queue(q);
    RETURN true;
END $$;
