-- The end of leases.

-- Takes a held delivery out of its lane.
CREATE FUNCTION pg_temp.take_out(INOUT q queue.queue, INOUT l queue.lane, p_position bigint) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM queue.delivery d
        WHERE d.queue = l.queue AND d.segment = p_position >> 16 AND d.lane = l.lane AND d.position = p_position;
    l.count := l.count - 1;
    l.held := l.held - 1;
    q.in_flight := q.in_flight - 1;
END $$;

-- Returns what is held of a lane from a position on; those attempts never were.
CREATE FUNCTION pg_temp.unhold(INOUT q queue.queue, INOUT l queue.lane, p_from bigint) LANGUAGE plpgsql AS $$
DECLARE
    here bigint := p_from >> 16;
    returned bigint := 0;
BEGIN
    IF l.held > 0 THEN
        WHILE here <= l.held_to >> 16 LOOP
            returned := returned + (
                SELECT count(*) FROM queue.delivery d
                WHERE d.queue = l.queue AND d.segment = here AND d.lane = l.lane
                    AND d.position >= p_from AND d.position <= l.held_to
            );
            here := CASE WHEN here < l.held_to >> 16 THEN pg_temp.segment_after(l.queue, here) END;
        END LOOP;
    END IF;
    l.held_to := p_from - 1;
    l.held := l.held - returned;
    q.in_flight := q.in_flight - returned;
    q.waiting := q.waiting + returned;
END $$;

-- An attempt that goes to its end: another may follow after the pause, or it is a dead
-- letter. Those behind it were never tried. True: it is a dead letter.
CREATE FUNCTION pg_temp.fail_attempt(
    INOUT q queue.queue, INOUT l queue.lane, p_position bigint, p_attempt bigint, p_outcome text, p_cause text,
    p_pause bigint, p_now bigint, OUT o_dead boolean
) LANGUAGE plpgsql AS $$
DECLARE
    got record;
    e queue.event;
BEGIN
    SELECT * INTO STRICT e FROM queue.event x WHERE x.position = p_position;
    o_dead := p_attempt >= q.attempts;
    got := pg_temp.unhold(q, l, p_position + 1);
    q := got.q;
    l := got.l;
    IF o_dead THEN
        PERFORM pg_temp.note_attempt(q, l, e, p_attempt, CASE p_outcome WHEN 'retry' THEN 'failed' ELSE p_outcome END,
            p_cause, p_now);
        got := pg_temp.take_out(q, l, p_position);
        q := got.q;
        l := got.l;
        q := pg_temp.bury(q, l.key, e, p_attempt, p_cause, p_now);
    ELSE
        PERFORM pg_temp.note_attempt(q, l, e, p_attempt, p_outcome, p_cause, p_now);
        UPDATE queue.delivery d SET attempt = p_attempt
            WHERE d.queue = l.queue AND d.segment = p_position >> 16 AND d.lane = l.lane AND d.position = p_position;
        got := pg_temp.unhold(q, l, p_position);
        q := got.q;
        l := got.l;
        IF p_pause IS NOT NULL THEN
            l.not_before := greatest(l.not_before, least(p_now::numeric + p_pause, 9223372036854775807)::bigint);
        END IF;
    END IF;
END $$;

-- What `note_attempt` and `unref` do, for many events whose deliveries in a queue were acked.
CREATE FUNCTION pg_temp.ack_events(
    q queue.queue, a_position bigint[], a_attempt bigint[], a_leased_at bigint[], a_holder text[], p_now bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF a_position = '{}' THEN
        RETURN;
    END IF;
    INSERT INTO queue.step (at, trace, client, event_id, role, step, outcome, detail, accepted_at, tasks)
        SELECT e.queued_at, e.trace, e.client, e.event_id, e.principal, 'appended', 'ok', e.type, e.accepted_at, e.tasks
        FROM unnest(a_position) a JOIN queue.event e ON e.position = a WHERE e.tasks <> '';
    INSERT INTO queue.step (at, trace, client, event_id, role, step, outcome, queue, attempt, duration_us)
        SELECT p_now, e.trace, e.client, e.event_id, a.holder, 'attempt', 'ok', q.name, a.attempt,
            p_now / 1000 - a.leased_at / 1000
        FROM unnest(a_position, a_attempt, a_leased_at, a_holder) a(position, attempt, leased_at, holder)
            JOIN queue.event e ON e.position = a.position;
    DELETE FROM queue.event e WHERE e.position = ANY (a_position) AND e.refs = 1;
    UPDATE queue.event e SET refs = e.refs - 1, tasks = '' WHERE e.position = ANY (a_position);
END $$;

-- Settles deliveries of one queue, in order. `s_how`: 0 ack, 1 retry, 2 fail, 3 release.
-- `s_clients` are those that the caller may touch, joined by commas; null: all. What became
-- of each: 0 its lease is lost, 1 it is none of the caller's, 2 acked, 3 returned after the
-- pause, 4 dead.
CREATE FUNCTION pg_temp.settle(
    p_now bigint, p_queue integer, s_lane bigint[], s_position bigint[], s_lease bigint[], s_clients text[],
    s_how integer[], s_delay bigint[], s_cause text[], OUT o_how integer[], OUT o_pause bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    got record;
    q queue.queue;
    l queue.lane;
    e queue.event;
    ended bigint;
    how integer;
    pause bigint;
    died boolean;
    -- Of those that are acked.
    a_position bigint[] := '{}';
    a_attempt bigint[] := '{}';
    a_leased_at bigint[] := '{}';
    a_holder text[] := '{}';
BEGIN
    SELECT * INTO STRICT q FROM queue.queue x WHERE x.id = p_queue;
    o_how := '{}';
    o_pause := '{}';
    FOR i IN 1 .. cardinality(s_lane) LOOP
        how := 0;
        pause := 0;
        SELECT * INTO l FROM queue.lane x WHERE x.queue = p_queue AND x.lane = s_lane[i];
        IF FOUND AND s_clients[i] IS NOT NULL AND l.client <> ALL (string_to_array(s_clients[i], ',')) THEN
            how := 1;
        ELSIF FOUND AND l.state = 1 AND l.lease = s_lease[i] AND l.held_to >= s_position[i] AND l.until > p_now THEN
            SELECT d.attempt INTO ended FROM queue.delivery d
            WHERE d.queue = p_queue AND d.segment = s_position[i] >> 16 AND d.lane = s_lane[i]
                AND d.position = s_position[i];
            IF FOUND AND s_how[i] = 1 THEN
                pause := coalesce(
                    s_delay[i], least(q.backoff_first * 2::numeric ^ least(ended, 62), q.backoff_last)::bigint
                );
                got := pg_temp.fail_attempt(
                    q, l, s_position[i], ended + 1, 'retry', s_cause[i], pause, p_now
                );
                q := got.q;
                l := got.l;
                died := got.o_dead;
                how := CASE WHEN died THEN 4 ELSE 3 END;
            ELSIF FOUND AND s_how[i] = 3 THEN
                got := pg_temp.unhold(q, l, s_position[i]);
                q := got.q;
                l := got.l;
                how := 3;
            ELSIF FOUND AND s_how[i] = 2 THEN
                SELECT * INTO STRICT e FROM queue.event x WHERE x.position = s_position[i];
                got := pg_temp.take_out(q, l, s_position[i]);
                q := got.q;
                l := got.l;
                PERFORM pg_temp.note_attempt(q, l, e, ended + 1, 'failed', s_cause[i], p_now);
                q := pg_temp.bury(q, l.key, e, ended + 1, s_cause[i], p_now);
                how := 4;
            ELSIF FOUND THEN
                -- What most end as: its event is seen to with those of the others.
                DELETE FROM queue.delivery d WHERE d.queue = p_queue AND d.segment = s_position[i] >> 16
                    AND d.lane = s_lane[i] AND d.position = s_position[i];
                l.count := l.count - 1;
                l.held := l.held - 1;
                q.in_flight := q.in_flight - 1;
                a_position := a_position || s_position[i];
                a_attempt := a_attempt || ended + 1;
                a_leased_at := a_leased_at || l.leased_at;
                a_holder := a_holder || l.holder;
                how := 2;
            END IF;
            IF how >= 2 AND l.held = 0 THEN
                q := pg_temp.release(q, l, p_now);
            ELSIF how >= 2 THEN
                PERFORM pg_temp.put_lane(l);
            END IF;
        END IF;
        o_how := o_how || how;
        o_pause := o_pause || pause;
    END LOOP;
    PERFORM pg_temp.ack_events(q, a_position, a_attempt, a_leased_at, a_holder, p_now);
    PERFORM pg_temp.put_queue(q);
END $$;

-- Moves the end of a lane's lease: 0 it is lost, 1 it is none of the caller's, 2 done.
CREATE FUNCTION pg_temp.extend(
    p_now bigint, p_queue integer, p_lane bigint, p_position bigint, p_lease bigint, p_clients text[], p_until bigint
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    l queue.lane;
BEGIN
    SELECT * INTO l FROM queue.lane x WHERE x.queue = p_queue AND x.lane = p_lane;
    IF NOT FOUND THEN
        RETURN 0;
    ELSIF p_clients IS NOT NULL AND l.client <> ALL (p_clients) THEN
        RETURN 1;
    ELSIF l.state <> 1 OR l.lease <> p_lease OR l.held_to < p_position OR l.until <= p_now OR NOT EXISTS (
        SELECT FROM queue.delivery d
        WHERE d.queue = p_queue AND d.segment = p_position >> 16 AND d.lane = p_lane AND d.position = p_position
    ) THEN
        RETURN 0;
    END IF;
    UPDATE queue.lane x SET until = p_until WHERE x.queue = p_queue AND x.lane = p_lane;
    RETURN 2;
END $$;

-- Returns what leases that ran out held, and makes delayed lanes ready whose time has come:
-- at most `p_limit` lanes, and not many more once `p_bytes` became dead letters.
CREATE FUNCTION pg_temp.expire(p_now bigint, p_limit bigint, p_bytes bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    got record;
    due record;
    q queue.queue;
    l queue.lane;
    first record;
    died boolean;
    bytes bigint := 0;
    count bigint := 0;
BEGIN
    FOR due IN
        SELECT * FROM (
            SELECT x.queue, x.lane, x.until FROM queue.lane x WHERE x.state <> 0 AND x.until <= p_now
            ORDER BY x.until LIMIT p_limit
        ) x ORDER BY x.queue, x.until, x.lane
    LOOP
        EXIT WHEN bytes >= p_bytes;
        count := count + 1;
        IF q.id IS DISTINCT FROM due.queue THEN
            PERFORM pg_temp.put_queue(q);
            SELECT * INTO STRICT q FROM queue.queue x WHERE x.id = due.queue;
        END IF;
        SELECT * INTO STRICT l FROM queue.lane x WHERE x.queue = due.queue AND x.lane = due.lane;
        IF l.state = 2 THEN
            q.delayed := q.delayed - 1;
            q.waiting := q.waiting + 1;
            q := pg_temp.make_ready(q, l);
            CONTINUE;
        END IF;
        first := pg_temp.first_delivery(l.queue, l.lane, l.head, l.held_to);
        IF first.o_position IS NULL THEN
            RAISE data_corrupted USING MESSAGE = format('lane %s holds %s deliveries but no first', l.lane, l.held);
        END IF;
        IF first.o_attempt + 1 >= q.attempts THEN
            bytes := bytes + (SELECT octet_length(e.body) FROM queue.event e WHERE e.position = first.o_position);
        END IF;
        got := pg_temp.fail_attempt(
            q, l, first.o_position, first.o_attempt + 1, 'expired', 'the lease ran out', NULL, p_now
        );
        q := got.q;
        l := got.l;
        died := got.o_dead;
        q := pg_temp.release(q, l, p_now);
    END LOOP;
    PERFORM pg_temp.put_queue(q);
    RETURN count;
END $$;
