-- Handing out deliveries: fair over clients, in order within a lane.

-- Deliveries of a part of a lane, in order, at most `p_room`; the one with which all bodies
-- reach `p_bytes` is the last. `p_first` says that nothing was handed out yet, so that one
-- comes however large it is.
CREATE FUNCTION pg_temp.take(
    p_queue integer, p_lane bigint, p_from bigint, p_to bigint, p_room bigint, p_bytes bigint, p_first boolean
) RETURNS TABLE (o_position bigint, o_attempt bigint, o_body bytea) LANGUAGE plpgsql AS $$
DECLARE
    here bigint := p_from >> 16;
    room bigint := p_room;
    bytes bigint := p_bytes;
    r record;
BEGIN
    WHILE here <= p_to >> 16 AND room > 0 LOOP
        FOR r IN
            SELECT d.position, d.attempt, octet_length(e.body) AS size, e.body
            FROM queue.delivery d JOIN queue.event e ON e.position = d.position
            WHERE d.queue = p_queue AND d.segment = here AND d.lane = p_lane AND d.position >= p_from
            ORDER BY d.queue, d.segment, d.lane, d.position LIMIT room
        LOOP
            IF bytes <= 0 AND NOT p_first THEN
                RETURN;
            END IF;
            p_first := false;
            bytes := bytes - r.size;
            room := room - 1;
            o_position := r.position;
            o_attempt := r.attempt;
            o_body := r.body;
            RETURN NEXT;
        END LOOP;
        here := CASE WHEN here < p_to >> 16 THEN pg_temp.segment_after(p_queue, here) END;
    END LOOP;
END $$;

CREATE FUNCTION pg_temp.claim(
    p_now bigint, p_queue integer, p_clients text[], p_max bigint, p_bytes bigint, p_until bigint, p_holder text,
    b_lane bigint[], b_position bigint[], b_lease bigint[]
) RETURNS TABLE (o_lane bigint, o_position bigint, o_lease bigint, o_attempt bigint, o_until bigint, o_body bytea)
LANGUAGE plpgsql AS $$
DECLARE
    q queue.queue;
    l queue.lane;
    r record;
    round text[];
    quota bigint;
    more bigint;
    visit integer := 1;
    handed bigint := 0;
    bytes bigint := 0;
    before bigint;
    room bigint;
BEGIN
    SELECT * INTO STRICT q FROM queue.queue x WHERE x.id = p_queue;
    IF q.paused THEN
        RETURN;
    END IF;

    -- Clients with a ready lane, the one served longest ago first.
    IF q.stream THEN
        round := ARRAY(SELECT x.client FROM queue.lane x WHERE x.queue = p_queue AND x.state = 0);
    ELSIF p_clients IS NULL THEN
        round := ARRAY(SELECT t.client FROM queue.turn t WHERE t.queue = p_queue AND t.ready > 0
            ORDER BY t.queue, t.turn LIMIT p_max);
    ELSE
        round := ARRAY(SELECT t.client FROM queue.turn t
            WHERE t.queue = p_queue AND t.client = ANY (p_clients) AND t.ready > 0 ORDER BY t.turn LIMIT p_max);
    END IF;
    -- Of more than `p_max` active clients each gives one delivery.
    quota := greatest(p_max / greatest(cardinality(round), 1), 1);
    WHILE handed < p_max AND (bytes < p_bytes OR handed = 0) AND visit <= cardinality(round) LOOP
        SELECT * INTO STRICT l FROM queue.lane x WHERE x.queue = p_queue AND x.client = round[visit] AND x.state = 0
            ORDER BY x.queue, x.client, x.head LIMIT 1;
        q.served := q.served + 1;
        q.entered := 0;
        IF NOT q.stream THEN
            UPDATE queue.turn t SET ready = t.ready - 1, turn = (q.served << 20) + (1 << 20) - 1
                WHERE t.queue = p_queue AND t.client = l.client RETURNING t.ready INTO STRICT more;
            IF more > 0 THEN
                round := round || l.client;
            END IF;
        END IF;
        visit := visit + 1;
        before := handed;
        -- An attempt begins with the lane's row alone: what is held has one more attempt
        -- than its own row says.
        room := least(quota, p_max - handed);
        FOR r IN SELECT * FROM pg_temp.take(p_queue, l.lane, l.head, l.tail, room, p_bytes - bytes, handed = 0) LOOP
            o_lane := l.lane;
            o_position := r.o_position;
            o_lease := q.served;
            o_attempt := r.o_attempt + 1;
            o_until := p_until;
            o_body := r.o_body;
            RETURN NEXT;
            handed := handed + 1;
            bytes := bytes + octet_length(o_body);
        END LOOP;
        IF handed = before THEN
            RAISE data_corrupted USING MESSAGE = format('lane %s is ready but holds nothing', l.lane);
        END IF;
        l.state := 1;
        l.held := handed - before;
        l.held_to := o_position;
        l.lease := q.served;
        l.leased_at := p_now;
        l.until := p_until;
        l.not_before := 0;
        l.holder := p_holder;
        PERFORM pg_temp.put_lane(l);
        q.waiting := q.waiting - l.held;
        q.in_flight := q.in_flight + l.held;
    END LOOP;

    -- More of the lanes that the claimer holds, under the same leases.
    FOR i IN 1 .. cardinality(b_lane) LOOP
        EXIT WHEN handed >= p_max OR (bytes >= p_bytes AND handed > 0);
        SELECT * INTO l FROM queue.lane x WHERE x.queue = p_queue AND x.lane = b_lane[i] AND x.state = 1
            AND x.lease = b_lease[i] AND x.held_to >= b_position[i] AND x.until > p_now
            AND (p_clients IS NULL OR x.client = ANY (p_clients));
        CONTINUE WHEN NOT FOUND OR l.count = l.held OR l.not_before > p_now;
        CONTINUE WHEN NOT EXISTS (
            SELECT FROM queue.delivery d WHERE d.queue = p_queue AND d.segment = b_position[i] >> 16
                AND d.lane = b_lane[i] AND d.position = b_position[i]
        );
        before := handed;
        l.until := greatest(l.until, p_until);
        room := greatest((p_max - handed) / (cardinality(b_lane) - i + 1), 1);
        FOR r IN
            SELECT * FROM pg_temp.take(p_queue, l.lane, l.held_to + 1, l.tail, room, p_bytes - bytes, handed = 0)
        LOOP
            o_lane := l.lane;
            o_position := r.o_position;
            o_lease := l.lease;
            o_attempt := r.o_attempt + 1;
            o_until := l.until;
            o_body := r.o_body;
            RETURN NEXT;
            handed := handed + 1;
            bytes := bytes + octet_length(o_body);
        END LOOP;
        CONTINUE WHEN handed = before;
        l.held := l.held + handed - before;
        l.held_to := o_position;
        l.leased_at := p_now;
        PERFORM pg_temp.put_lane(l);
        q.waiting := q.waiting - (handed - before);
        q.in_flight := q.in_flight + (handed - before);
    END LOOP;
    PERFORM pg_temp.put_queue(q);
END $$;
