-- The one way points move: post_transfer, a posting in one round trip, to be read from top to bottom.
--
-- What can be refused comes back as an outcome, so that a caller's transaction lives on; nothing has moved
-- then. What must not happen raises. `p_` marks a parameter.
--
-- This file may be run again: a revision that changes the function does so.

DO $$ BEGIN
    CREATE TYPE posting AS (outcome text, transfer_id uuid, points bigint, balance bigint);
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;

-- The answer to an idempotency key that was used before: the first answer when the input was the same.
CREATE OR REPLACE FUNCTION posted_before(p_idempotency_key text, p_input_hash bytea) RETURNS posting
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found_hash bytea;
    answer posting;
BEGIN
    SELECT t.id, t.points, t.input_hash INTO answer.transfer_id, answer.points, found_hash
      FROM transfers AS t WHERE t.idempotency_key = p_idempotency_key;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF found_hash <> p_input_hash THEN
        RETURN ROW('key-reused', NULL, NULL, NULL)::posting;
    END IF;
    SELECT e.balance INTO answer.balance FROM entries AS e
     WHERE e.transfer_id = answer.transfer_id AND e.balance IS NOT NULL ORDER BY e.points LIMIT 1;
    answer.outcome := 'replayed';
    RETURN answer;
END $$;

-- Moves points from one account to another.
--
-- Outcomes: posted; replayed (the first answer again); key-reused; unknown-account (the giver has none);
-- insufficient (with the balance); too-many (the balance would not be a safe integer any more);
-- unknown-transfer, not-reversible, already-reversed (of a reversal); nothing (at most zero could be moved).
CREATE OR REPLACE FUNCTION post_transfer(
    p_kind            transfer_kind,
    p_from_kind       account_kind, -- the giver's account; for a reversal both come from the reversed transfer
    p_from_owner      uuid,
    p_to_kind         account_kind, -- the receiver's account; opened with its first points
    p_to_owner        uuid,
    p_points          bigint,       -- NULL: all that is left to reverse
    p_reason          text,
    p_actor           text,
    p_occurred_at     timestamptz,
    p_idempotency_key text,
    p_input_hash      bytea,
    p_rule            text DEFAULT NULL,
    p_arithmetic      text DEFAULT NULL,
    p_event_id        uuid DEFAULT NULL,
    p_expires_at      timestamptz DEFAULT 'infinity',
    p_cost_per_point  numeric DEFAULT 0,
    p_reverses        uuid DEFAULT NULL,
    p_at_most         boolean DEFAULT false,  -- move what the giver has, if it is less
    p_traceparent     text DEFAULT NULL
) RETURNS posting LANGUAGE plpgsql AS $$
DECLARE
    issuer   CONSTANT bigint := 1;  -- the house's accounts keep no balance and are known by number,
    breakage CONSTANT bigint := 2;  -- so that postings neither look them up nor wait for one another there
    safe_max CONSTANT bigint := 9007199254740991;
    new_id            uuid := uuid7();
    giver             bigint;       -- the accounts' ids, and their balances: NULL where none is kept
    giver_balance     bigint;
    receiver          bigint;
    receiver_balance  bigint;
    original          transfers;
    reversed_before   bigint;
    refusal           text;
    answer            posting;
    missing           bigint;
    lot               bigint;
    lot_points        bigint;
    lot_expiry        timestamptz;
    emptied           bigint := 0;
    emptied_expiry    timestamptz := '-infinity';
BEGIN
    -- 1. Between which accounts? A reversal goes the way back.
    IF p_reverses IS NOT NULL THEN
        SELECT * INTO original FROM transfers WHERE id = p_reverses;
        IF NOT FOUND THEN
            RETURN ROW('unknown-transfer', NULL, NULL, NULL)::posting;
        END IF;
        p_kind := original.kind;
        SELECT a.kind, a.owner INTO p_from_kind, p_from_owner
          FROM entries AS e JOIN accounts AS a ON a.id = e.account_id
         WHERE e.transfer_id = p_reverses AND e.points > 0;
        SELECT a.kind, a.owner INTO p_to_kind, p_to_owner
          FROM entries AS e JOIN accounts AS a ON a.id = e.account_id
         WHERE e.transfer_id = p_reverses AND e.points < 0;
    END IF;

    -- 2. Lock those that keep a balance, in the order of owner and kind. Whoever waits here reads afterwards
    --    what the one before has written: each statement sees the latest.
    giver := CASE p_from_kind WHEN 'issuer' THEN issuer WHEN 'breakage' THEN breakage END;
    receiver := CASE p_to_kind WHEN 'issuer' THEN issuer WHEN 'breakage' THEN breakage END;
    IF receiver IS NULL THEN
        INSERT INTO accounts (kind, owner, balance)
        SELECT p_to_kind, p_to_owner, 0
         WHERE NOT EXISTS (SELECT FROM accounts WHERE kind = p_to_kind AND owner = p_to_owner)
        ON CONFLICT DO NOTHING;
    END IF;
    IF receiver IS NULL AND (p_to_owner, p_to_kind) < (p_from_owner, p_from_kind) THEN
        SELECT id, balance INTO receiver, receiver_balance FROM accounts
         WHERE kind = p_to_kind AND owner = p_to_owner FOR NO KEY UPDATE;
    END IF;
    IF giver IS NULL THEN
        SELECT id, balance INTO giver, giver_balance FROM accounts
         WHERE kind = p_from_kind AND owner = p_from_owner FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RETURN ROW('unknown-account', NULL, NULL, NULL)::posting;
        END IF;
    END IF;
    IF receiver IS NULL THEN
        SELECT id, balance INTO receiver, receiver_balance FROM accounts
         WHERE kind = p_to_kind AND owner = p_to_owner FOR NO KEY UPDATE;
    END IF;

    -- 3. May it be done?
    IF p_reverses IS NOT NULL THEN
        SELECT coalesce(sum(points), 0) INTO reversed_before FROM transfers WHERE reverses = p_reverses;
        p_points := coalesce(p_points, original.points - reversed_before);
    END IF;
    IF p_at_most THEN
        p_points := least(p_points, giver_balance);
    END IF;
    refusal := CASE WHEN original.reverses IS NOT NULL THEN 'not-reversible'
                    WHEN reversed_before = original.points THEN 'already-reversed'
                    WHEN reversed_before + p_points > original.points THEN 'already-reversed'
                    WHEN p_points = 0 THEN 'nothing'
                    WHEN p_points > giver_balance THEN 'insufficient'
                    WHEN receiver_balance > safe_max - p_points THEN 'too-many' END;

    -- 4. Was it done before? Then the first answer is the answer, whatever has become of the balance. The
    --    unique key decides, also between two that use it at this very moment on different accounts.
    IF refusal IS NULL THEN
        INSERT INTO transfers (id, kind, points, reason, rule, arithmetic, actor, event_id, occurred_at,
                               reverses, reversed_before, idempotency_key, input_hash)
        VALUES (new_id, p_kind, p_points, p_reason, p_rule, p_arithmetic, p_actor, p_event_id, p_occurred_at,
                p_reverses, reversed_before, p_idempotency_key, p_input_hash)
        ON CONFLICT (idempotency_key) DO NOTHING;
        IF NOT FOUND THEN
            RETURN posted_before(p_idempotency_key, p_input_hash);
        END IF;
    ELSE
        answer := posted_before(p_idempotency_key, p_input_hash);
        IF answer.outcome IS NULL THEN
            answer := ROW(refusal, NULL, NULL, coalesce(giver_balance, receiver_balance))::posting;
        END IF;
        RETURN answer;
    END IF;

    -- 5. Take from the giver's lots: for a reversal first from those which the reversed transfer brought,
    --    then soonest expiry first. One look into the index lots_open for each lot, going on where the last
    --    one stood, so that the time does not grow with the lots that a member has.
    missing := CASE WHEN giver_balance IS NULL THEN 0 ELSE p_points END;
    WHILE missing > 0 LOOP
        lot := NULL;
        IF p_reverses IS NOT NULL THEN
            SELECT id, remaining INTO lot, lot_points FROM lots
             WHERE account_id = giver AND remaining > 0 AND transfer_id = p_reverses LIMIT 1;
        END IF;
        IF lot IS NULL THEN
            SELECT id, remaining, expires_at INTO lot, lot_points, lot_expiry FROM lots
             WHERE account_id = giver AND remaining > 0 AND (expires_at, id) > (emptied_expiry, emptied)
             ORDER BY expires_at, id LIMIT 1;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'account % has % points more than its lots', giver, missing
                    USING ERRCODE = 'data_corrupted',
                          HINT = 'GET /v1/loyalty/audit names the first difference.';
            END IF;
            emptied := lot;
            emptied_expiry := lot_expiry;
        END IF;
        lot_points := least(lot_points, missing);
        UPDATE lots SET remaining = remaining - lot_points WHERE id = lot;
        INSERT INTO uses (transfer_id, lot_id, points) VALUES (new_id, lot, lot_points);
        missing := missing - lot_points;
    END LOOP;

    -- 6. Give to the receiver: a reversal back into the lots that the reversed transfer used, the last used
    --    first; otherwise the giver's lots move with their expiry; otherwise a new lot.
    IF receiver_balance IS NULL THEN
        NULL;  -- the house keeps no lots
    ELSIF p_reverses IS NOT NULL THEN
        missing := p_points;
        FOR lot, lot_points IN
            SELECT l.id, sum(u.points) FROM uses AS u JOIN lots AS l ON l.id = u.lot_id
             WHERE u.transfer_id IN (SELECT p_reverses UNION ALL
                                     SELECT t.id FROM transfers AS t WHERE t.reverses = p_reverses)
               AND l.account_id = receiver
             GROUP BY l.id HAVING sum(u.points) > 0 ORDER BY l.expires_at DESC, l.id DESC
        LOOP
            lot_points := least(lot_points, missing);
            UPDATE lots SET remaining = remaining + lot_points WHERE id = lot;
            INSERT INTO uses (transfer_id, lot_id, points) VALUES (new_id, lot, -lot_points);
            missing := missing - lot_points;
            EXIT WHEN missing = 0;
        END LOOP;
        IF missing > 0 THEN
            RAISE EXCEPTION 'transfer % used % points less than it moved', p_reverses, missing
                USING ERRCODE = 'data_corrupted',
                      HINT = 'GET /v1/loyalty/audit names the first difference.';
        END IF;
    ELSIF giver_balance IS NOT NULL THEN
        INSERT INTO lots (account_id, transfer_id, points, remaining, earned_at, expires_at, cost_per_point)
        SELECT receiver, new_id, u.points, u.points, l.earned_at, l.expires_at, l.cost_per_point
          FROM uses AS u JOIN lots AS l ON l.id = u.lot_id WHERE u.transfer_id = new_id ORDER BY l.id;
    ELSE
        INSERT INTO lots (account_id, transfer_id, points, remaining, earned_at, expires_at, cost_per_point)
        VALUES (receiver, new_id, p_points, p_points, p_occurred_at, p_expires_at, p_cost_per_point);
    END IF;

    -- 7. Balances and lifetime totals, with a mark for the 360 view; and the two entries that sum to zero.
    giver_balance := giver_balance - p_points;
    receiver_balance := receiver_balance + p_points;
    IF giver_balance IS NOT NULL THEN
        UPDATE accounts
           SET balance = giver_balance,
               earned = earned - CASE p_kind WHEN 'earning' THEN p_points ELSE 0 END,
               spent = spent + CASE p_kind WHEN 'redemption' THEN p_points ELSE 0 END
         WHERE id = giver;
        INSERT INTO section_marks (customer_id) VALUES (p_from_owner);
    END IF;
    IF receiver_balance IS NOT NULL THEN
        UPDATE accounts
           SET balance = receiver_balance,
               earned = earned + CASE p_kind WHEN 'earning' THEN p_points ELSE 0 END,
               spent = spent - CASE p_kind WHEN 'redemption' THEN p_points ELSE 0 END
         WHERE id = receiver;
        INSERT INTO section_marks (customer_id) VALUES (p_to_owner);
    END IF;
    INSERT INTO entries (transfer_id, account_id, points, balance)
    VALUES (new_id, giver, -p_points, giver_balance), (new_id, receiver, p_points, receiver_balance);

    -- 8. Tell the others, when points came to or left a member; a move between holders tells nobody.
    IF giver_balance IS NULL OR receiver_balance IS NULL THEN
        PERFORM outbox_emit(
            CASE WHEN p_reverses IS NOT NULL THEN 'points.reversed'
                 WHEN giver_balance IS NULL THEN 'points.earned' ELSE 'points.redeemed' END,
            CASE WHEN giver_balance IS NULL THEN p_to_owner ELSE p_from_owner END,
            jsonb_build_object(
                'customer_id', CASE WHEN giver_balance IS NULL THEN p_to_owner ELSE p_from_owner END,
                'transfer_id', new_id, 'points', p_points,
                'balance', coalesce(giver_balance, receiver_balance),
                'reason', p_reason, 'occurred_at', p_occurred_at),
            p_traceparent);
    END IF;
    RETURN ROW('posted', new_id, p_points, coalesce(giver_balance, receiver_balance))::posting;
END $$;
