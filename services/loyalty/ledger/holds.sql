-- Holds: points set aside, then spent in whole or part, or given back. The row of the hold is locked first, then
-- the customer, by whoever closes it; it is closed once.
--
-- Outcomes besides those of post_transfer: unknown-hold; hold-closed (captured, released or timed out before);
-- more-than-held (with how many are).
--
-- This file may be run again: a revision that changes a function does so.

CREATE OR REPLACE FUNCTION place_hold(
    p_customer uuid, p_points bigint, p_expires_at timestamptz, p_reason text, p_actor text, p_occurred_at timestamptz,
    p_idempotency_key text, p_input_hash bytea, p_event_id uuid DEFAULT NULL
) RETURNS posting LANGUAGE plpgsql AS $$
DECLARE
    answer posting;
BEGIN
    answer := post_transfer('hold', p_customer, 'member', 'hold', p_points, p_reason, p_actor, p_occurred_at,
                            p_idempotency_key, p_input_hash, p_event_id => p_event_id);
    IF answer.outcome = 'posted' THEN
        INSERT INTO holds (id, points, expires_at) VALUES (answer.transfer_id, p_points, p_expires_at);
    END IF;
    RETURN answer;
END $$;

-- Closes a hold: p_captured points of it are spent, the others go back into the lots they came from. NULL: all.
CREATE OR REPLACE FUNCTION close_hold(
    p_hold uuid, p_captured bigint, p_reason text, p_actor text, p_occurred_at timestamptz, p_idempotency_key text,
    p_input_hash bytea, p_rule text DEFAULT NULL, p_arithmetic text DEFAULT NULL, p_event_id uuid DEFAULT NULL,
    p_traceparent text DEFAULT NULL
) RETURNS posting LANGUAGE plpgsql AS $$
DECLARE
    held   holds;
    answer posting;
    rest   bigint;
BEGIN
    SELECT * INTO held FROM holds WHERE id = p_hold FOR UPDATE;
    IF NOT FOUND THEN
        RETURN ROW('unknown-hold', NULL, NULL, NULL)::posting;
    END IF;
    answer := posted_before(p_idempotency_key, p_input_hash);
    IF answer.outcome IS NOT NULL THEN
        RETURN answer;
    END IF;
    IF held.closed_at IS NOT NULL OR (held.expires_at <= now() AND p_captured IS DISTINCT FROM 0) THEN
        RETURN ROW('hold-closed', NULL, NULL, NULL)::posting;
    END IF;
    p_captured := coalesce(p_captured, held.points);
    rest := held.points - p_captured;
    IF rest < 0 THEN
        RETURN ROW('more-than-held', NULL, NULL, held.points)::posting;
    END IF;
    IF rest > 0 THEN
        answer := post_transfer('release', NULL, NULL, NULL, rest, p_reason, p_actor, p_occurred_at,
                                CASE p_captured WHEN 0 THEN p_idempotency_key ELSE 'rest of ' || p_hold END,
                                p_input_hash, p_event_id => p_event_id, p_reverses => p_hold);
    END IF;
    IF p_captured > 0 THEN
        answer := post_transfer('redemption', (SELECT a.owner FROM entries AS e JOIN accounts AS a ON a.id = e.account_id
                                                WHERE e.transfer_id = p_hold AND e.points > 0),
                                'hold', 'issuer', p_captured, p_reason, p_actor, p_occurred_at, p_idempotency_key,
                                p_input_hash, p_rule, p_arithmetic, p_event_id, p_hold => p_hold,
                                p_traceparent => p_traceparent);
    END IF;
    IF answer.outcome <> 'posted' THEN
        RAISE EXCEPTION 'hold % cannot be closed: %', p_hold, answer.outcome USING ERRCODE = 'data_corrupted',
            HINT = 'c360 doctor ledger names the first difference.';
    END IF;
    UPDATE holds SET captured = p_captured, closed_at = now() WHERE id = p_hold;
    RETURN answer;
END $$;
