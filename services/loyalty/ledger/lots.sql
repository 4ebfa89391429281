-- Lots that move whole, many at once: they expire, become available, or go to another customer and back.
--
-- This file may be run again: a revision that changes a function does so.

-- Moves what remains of these lots, each account's in one transfer, with expiry, cost and origin. p_to: the kind of
-- account they go to, NULL for one like theirs; p_owner: whose, NULL for the same customer's. Each account may
-- receive from one. The customers are locked by the caller. Returns the transfers, with what the giver's customer
-- has available afterwards.
CREATE OR REPLACE FUNCTION move_lots(
    p_lots bigint[], p_kind transfer_kind, p_to account_kind, p_owner uuid, p_reason text, p_actor text,
    p_event_id uuid DEFAULT NULL
) RETURNS TABLE (transfer_id uuid, owner uuid, points bigint, available bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    breakage CONSTANT bigint := 2;
BEGIN
    IF p_to IS DISTINCT FROM 'breakage' THEN
        PERFORM open_account(wanted.kind, wanted.owner) FROM (
            SELECT DISTINCT coalesce(p_to, a.kind) AS kind, coalesce(p_owner, a.owner) AS owner
              FROM lots AS l JOIN accounts AS a ON a.id = l.account_id
             WHERE l.id = ANY (p_lots) AND l.open) AS wanted;
    END IF;

    RETURN QUERY
    WITH lot AS MATERIALIZED (
        SELECT * FROM lots AS l WHERE l.id = ANY (p_lots) AND l.open
    ), moved AS MATERIALIZED (
        SELECT uuid7() AS transfer_id, per.points, a.id AS giver, a.owner, a.kind, a.balance - per.points AS giver_balance,
               r.id AS receiver, r.kind AS receiver_kind, r.owner AS receiver_owner,
               r.balance + per.points AS receiver_balance
          FROM (SELECT account_id, sum(remaining)::bigint AS points FROM lot GROUP BY account_id) AS per
          JOIN accounts AS a ON a.id = per.account_id
          JOIN accounts AS r ON CASE WHEN p_to = 'breakage' THEN r.id = breakage
                                     ELSE r.kind = coalesce(p_to, a.kind) AND r.owner = coalesce(p_owner, a.owner) END
    ), new_transfers AS (
        INSERT INTO transfers (id, kind, points, reason, actor, event_id, occurred_at, idempotency_key, input_hash)
        SELECT transfer_id, p_kind, points, p_reason, p_actor, p_event_id, now(), p_kind || '/' || transfer_id, ''
          FROM moved
    ), new_uses AS (
        INSERT INTO uses (transfer_id, lot_id, points)
        SELECT moved.transfer_id, lot.id, lot.remaining FROM lot JOIN moved ON moved.giver = lot.account_id
    ), emptied AS (
        UPDATE lots SET remaining = 0 FROM lot WHERE lots.id = lot.id
    ), new_lots AS (
        INSERT INTO lots (account_id, transfer_id, points, remaining, earned_at, expires_at, cost_per_point, origin,
                          pending_until, hold)
        SELECT moved.receiver, moved.transfer_id, lot.remaining, lot.remaining, lot.earned_at, lot.expires_at,
               lot.cost_per_point, coalesce(lot.origin, lot.transfer_id),
               CASE moved.receiver_kind WHEN 'pending' THEN lot.pending_until END,
               CASE moved.receiver_kind WHEN 'hold' THEN lot.hold END
          FROM lot JOIN moved ON moved.giver = lot.account_id
         WHERE moved.receiver_balance IS NOT NULL ORDER BY lot.id
    ), new_balances AS (
        UPDATE accounts SET balance = changed.balance
          FROM (SELECT giver AS id, giver_balance AS balance FROM moved
                UNION ALL SELECT receiver, receiver_balance FROM moved WHERE receiver_balance IS NOT NULL) AS changed
         WHERE accounts.id = changed.id
    ), new_entries AS (
        INSERT INTO entries (transfer_id, account_id, points, balance)
        SELECT transfer_id, giver, -points, giver_balance FROM moved
        UNION ALL SELECT transfer_id, receiver, points, receiver_balance FROM moved
    ), new_marks AS (
        INSERT INTO section_marks (customer_id)
        SELECT owner FROM moved UNION SELECT receiver_owner FROM moved WHERE receiver_balance IS NOT NULL
    )
    SELECT moved.transfer_id, moved.owner, moved.points,
           CASE WHEN moved.kind = 'member' THEN moved.giver_balance
                ELSE (SELECT balance FROM accounts AS own WHERE own.kind = 'member' AND own.owner = moved.owner) END
      FROM moved;
END $$;

-- Books lots as expired, and tells it. The customers are locked by the caller.
CREATE OR REPLACE FUNCTION book_expiry(p_lots bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM outbox_emit('points.expired', moved.owner, jsonb_build_object(
                'customer_id', moved.owner, 'transfer_id', moved.transfer_id, 'points', moved.points,
                'balance', moved.available, 'reason', 'Expired', 'occurred_at', now()))
       FROM move_lots(p_lots, 'expiry', 'breakage', NULL, 'Expired', 'clock') AS moved;
END $$;

-- One batch of expiry: the lots that are due longest. What is held waits for the end of its hold. Returns how many
-- there were; fewer than the limit: all are done. Index: lots_expiring.
CREATE OR REPLACE FUNCTION expire_lots(p_limit int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    due bigint[];
BEGIN
    due := array(SELECT id FROM lots WHERE open AND hold IS NULL AND expires_at < 'infinity' AND expires_at <= now()
                  ORDER BY expires_at, id LIMIT p_limit);
    IF cardinality(due) > 0 THEN
        PERFORM lock_members(array(
            SELECT a.owner FROM lots AS l JOIN accounts AS a ON a.id = l.account_id WHERE l.id = ANY (due)));
        PERFORM book_expiry(due);
    END IF;
    RETURN cardinality(due);
END $$;

-- One batch of pending points whose time has come. Returns whose they were, and whether there are more.
-- Index: lots_pending.
CREATE OR REPLACE FUNCTION promote_lots(p_limit int, OUT owners uuid[], OUT more boolean) LANGUAGE plpgsql AS $$
DECLARE
    due bigint[];
BEGIN
    due := array(SELECT id FROM lots WHERE open AND pending_until IS NOT NULL AND pending_until <= now()
                  ORDER BY pending_until, id LIMIT p_limit);
    owners := array(SELECT DISTINCT a.owner FROM lots AS l JOIN accounts AS a ON a.id = l.account_id
                     WHERE l.id = ANY (due));
    more := cardinality(due) = p_limit;
    IF cardinality(due) > 0 THEN
        PERFORM lock_members(owners);
        PERFORM move_lots(due, 'promotion', 'member', NULL, 'Now available', 'clock');
    END IF;
END $$;

-- Tells of points that expire before p_before, once for each member and day. Returns how many notices there were;
-- fewer than the limit: all are told. Index: lots_expiring.
CREATE OR REPLACE FUNCTION tell_expiring(p_before timestamptz, p_limit int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    told int;
BEGIN
    DELETE FROM expiry_notices WHERE day < (now() AT TIME ZONE 'UTC')::date;
    WITH due AS (
        SELECT l.account_id, (l.expires_at AT TIME ZONE 'UTC')::date AS day, sum(l.remaining)::bigint AS points,
               min(l.expires_at) AS expires_at
          FROM lots AS l JOIN accounts AS a ON a.id = l.account_id AND a.kind = 'member'
         WHERE l.open AND l.hold IS NULL AND l.expires_at < 'infinity'
           AND l.expires_at > now() AND l.expires_at < p_before
           AND NOT EXISTS (SELECT FROM expiry_notices AS n
                            WHERE n.account_id = l.account_id AND n.day = (l.expires_at AT TIME ZONE 'UTC')::date)
         GROUP BY 1, 2 ORDER BY 2, 1 LIMIT p_limit
    ), noted AS (
        INSERT INTO expiry_notices (account_id, day) SELECT account_id, day FROM due
        ON CONFLICT DO NOTHING RETURNING account_id, day
    )
    SELECT count(outbox_emit('points.expiring', a.owner, jsonb_build_object(
               'customer_id', a.owner, 'points', due.points, 'balance', a.balance, 'expires_at', due.expires_at)))
      INTO told
      FROM noted JOIN due USING (account_id, day) JOIN accounts AS a ON a.id = due.account_id;
    RETURN told;
END $$;
