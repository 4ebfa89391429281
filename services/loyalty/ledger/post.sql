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

-- The answer to an idempotency key that was used before: the first answer when the input was the same. Its
-- balance is what was available then, also when the points went to or came from another account of the member.
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
    SELECT coalesce(own.balance, 0) INTO answer.balance
      FROM entries AS e
      JOIN accounts AS a ON a.id = e.account_id AND a.kind <= 'hold'
      JOIN accounts AS member ON member.kind = 'member' AND member.owner = a.owner
      LEFT JOIN LATERAL (
          SELECT before.balance FROM entries AS before
           WHERE before.account_id = member.id AND before.balance IS NOT NULL AND before.id <= e.id
           ORDER BY before.id DESC LIMIT 1) AS own ON true
     WHERE e.transfer_id = answer.transfer_id ORDER BY a.kind, e.points LIMIT 1;
    answer.outcome := 'replayed';
    RETURN answer;
END $$;

-- The id of an account; one that is missing is opened. What the house has is known without a balance.
CREATE OR REPLACE FUNCTION open_account(p_kind account_kind, p_owner uuid) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    found_id bigint;
BEGIN
    SELECT id INTO found_id FROM accounts WHERE kind = p_kind AND owner = p_owner;
    IF NOT FOUND THEN
        INSERT INTO accounts (kind, owner, balance)
        VALUES (p_kind, p_owner, CASE WHEN p_kind <= 'hold' THEN 0 END) ON CONFLICT DO NOTHING;
        SELECT id INTO found_id FROM accounts WHERE kind = p_kind AND owner = p_owner;
    END IF;
    RETURN found_id;
END $$;

-- The event that tells of a transfer: the same envelope as outbox_emit writes, made in less time. The planner
-- puts both functions into the statement that calls them. The head is the same for all events of a batch.
CREATE OR REPLACE FUNCTION points_event_head(p_type text, p_traceparent text) RETURNS text LANGUAGE sql AS $$
    SELECT concat(
        '","source":"/', coalesce(current_setting('c360.service', true), 'unknown'), '","type":"', p_type,
        '","time":"', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        '","datacontenttype":"application/json","dataschema":"/schemas/', p_type, '.v1.json"',
        ',"traceparent":"' || coalesce(p_traceparent, nullif(current_setting('c360.traceparent', true), '')) || '"',
        ',"subject":"')
$$;
CREATE OR REPLACE FUNCTION points_event(
    p_id uuid, p_head text, p_customer uuid, p_transfer uuid, p_points bigint, p_balance bigint, p_reason text,
    p_occurred_at timestamptz, p_pending_until timestamptz
) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat('{"specversion":"1.0","id":"', p_id, p_head, p_customer, '","data":{"customer_id":"', p_customer,
                  '","transfer_id":"', p_transfer, '","points":', p_points, ',"balance":', p_balance,
                  ',"reason":', to_json(p_reason), ',"occurred_at":', to_json(p_occurred_at),
                  ',"pending_until":' || to_json(p_pending_until), '}}')
$$;

-- Moves points of one customer: between the customer's accounts (member, pending, hold), or between one of
-- them and the house (issuer, breakage, a partner).
--
-- Outcomes: posted; replayed (the first answer again); key-reused; unknown-account (the customer has none);
-- insufficient (with the balance); too-many (the balance would not be a safe integer any more);
-- unknown-transfer, not-reversible, already-reversed (of a reversal); nothing (zero, or at most zero could be
-- moved); negative.
-- The balance of an answer is what the customer has available.
CREATE OR REPLACE FUNCTION post_transfer(
    p_kind            transfer_kind,
    p_customer        uuid,         -- for a reversal NULL: it and both accounts come from the reversed transfer
    p_from            account_kind,
    p_to              account_kind, -- opened with its first points
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
    p_traceparent     text DEFAULT NULL,
    p_partner         uuid DEFAULT NULL,      -- whose account a 'partner' is
    p_pending_until   timestamptz DEFAULT NULL,
    p_hold            uuid DEFAULT NULL,      -- from 'hold': out of this hold's lots
    p_pending_only    boolean DEFAULT false   -- reverse an earning only while it is pending
) RETURNS posting LANGUAGE plpgsql AS $$
DECLARE
    issuer   CONSTANT bigint := 1;  -- the house's accounts keep no balance and are known by number,
    breakage CONSTANT bigint := 2;  -- so that postings neither look them up nor wait for one another there
    safe_max CONSTANT bigint := 9007199254740991;
    new_id            uuid := uuid7();
    customer          uuid := p_customer;
    survivor          uuid;
    member            bigint;       -- the customer's member account,
    available         bigint;       -- and its balance
    giver             bigint;       -- the two accounts' ids, and their balances: NULL where none is kept
    giver_balance     bigint;
    receiver          bigint;
    receiver_balance  bigint;
    original          transfers;
    reversed_before   bigint;
    refusal           text;
    answer            posting;
    told              text;         -- which event tells of it,
    told_id           uuid;         -- and its id
    missing           bigint;
    lot               bigint;
    lot_points        bigint;
    lot_expiry        timestamptz;
    lot_account       bigint;
    emptied           bigint := 0;
    emptied_expiry    timestamptz := '-infinity';
BEGIN
    -- 1. Which accounts? A reversal goes the way back; what was spent out of a hold becomes available.
    IF p_reverses IS NOT NULL THEN
        SELECT * INTO original FROM transfers WHERE id = p_reverses;
        IF NOT FOUND THEN
            RETURN ROW('unknown-transfer', NULL, NULL, NULL)::posting;
        END IF;
        SELECT max(a.kind) FILTER (WHERE e.points > 0), max(a.kind) FILTER (WHERE e.points < 0),
               (array_agg(a.owner) FILTER (WHERE a.kind <= 'hold'))[1],
               (array_agg(a.owner) FILTER (WHERE a.kind = 'partner'))[1]
          INTO p_from, p_to, customer, p_partner
          FROM entries AS e JOIN accounts AS a ON a.id = e.account_id WHERE e.transfer_id = p_reverses;
        IF original.kind IN ('hold', 'release', 'promotion', 'merge') AND p_kind IS DISTINCT FROM 'release' THEN
            refusal := 'not-reversible';
        END IF;
        p_kind := coalesce(p_kind, original.kind);
        IF p_to = 'hold' THEN
            p_to := 'member';
        END IF;
    END IF;

    -- 2. Lock the customer: the row of the member account, whichever accounts are concerned. Whoever waits here
    --    reads afterwards what the one before has written: each statement sees the latest. The points of a
    --    customer who was merged are the survivor's.
    LOOP
        IF p_from > 'hold' THEN
            INSERT INTO accounts (kind, owner, balance) SELECT 'member', customer, 0
             WHERE NOT EXISTS (SELECT FROM accounts WHERE kind = 'member' AND owner = customer)
            ON CONFLICT DO NOTHING;
        END IF;
        SELECT id, balance INTO member, available FROM accounts
         WHERE kind = 'member' AND owner = customer AND merged_into IS NULL FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        SELECT merged_into INTO survivor FROM accounts WHERE kind = 'member' AND owner = customer;
        IF survivor IS NULL THEN
            RETURN ROW('unknown-account', NULL, NULL, NULL)::posting;
        END IF;
        p_customer := coalesce(p_customer, customer);
        customer := survivor;
    END LOOP;
    IF survivor IS NOT NULL AND customer <> (SELECT s.survivor FROM survivors(ARRAY[p_customer]) AS s) THEN
        RAISE EXCEPTION 'a customer was merged at this moment' USING ERRCODE = 'serialization_failure';
    END IF;

    -- 3. The two accounts. An earning that was pending and is not any more is taken back from the member.
    --    Points whose time has passed leave before any are spent: what is available is never expired.
    IF p_from = 'pending' AND p_reverses IS NOT NULL THEN
        giver := open_account('pending', customer);
        IF NOT EXISTS (SELECT FROM lots WHERE account_id = giver AND open
                          AND (transfer_id = p_reverses OR origin = p_reverses)) THEN
            p_from := 'member';
        END IF;
    END IF;
    IF p_from = 'member' AND p_reverses IS NULL THEN
        SELECT id, remaining, expires_at INTO lot, lot_points, lot_expiry FROM lots
         WHERE account_id = member AND open ORDER BY expires_at, id LIMIT 1;
        IF lot_expiry <= now() THEN
            PERFORM book_expiry(array(SELECT id FROM lots WHERE account_id = member AND open AND expires_at <= now()));
            SELECT balance INTO available FROM accounts WHERE id = member;
            lot := NULL;
        END IF;
    END IF;
    IF p_from = 'member' THEN
        giver := member;
        giver_balance := available;
    ELSIF p_from = 'issuer' THEN
        giver := issuer;
    ELSE
        giver := CASE p_from WHEN 'breakage' THEN breakage WHEN 'partner' THEN open_account('partner', p_partner)
                             ELSE open_account(p_from, customer) END;
        SELECT balance INTO giver_balance FROM accounts WHERE id = giver;
    END IF;
    IF p_to = 'member' THEN
        receiver := member;
        receiver_balance := available;
    ELSIF p_to = 'issuer' THEN
        receiver := issuer;
    ELSE
        receiver := CASE p_to WHEN 'breakage' THEN breakage WHEN 'partner' THEN open_account('partner', p_partner)
                              ELSE open_account(p_to, customer) END;
        SELECT balance INTO receiver_balance FROM accounts WHERE id = receiver;
    END IF;

    -- 4. May it be done?
    IF p_reverses IS NOT NULL THEN
        SELECT coalesce(sum(points), 0) INTO reversed_before FROM transfers WHERE reverses = p_reverses;
        p_points := coalesce(p_points, original.points - reversed_before);
    END IF;
    IF p_at_most THEN
        p_points := CASE WHEN p_pending_only AND p_from <> 'pending' THEN 0 ELSE least(p_points, giver_balance) END;
    END IF;
    refusal := CASE WHEN refusal IS NOT NULL THEN refusal
                    WHEN original.reverses IS NOT NULL THEN 'not-reversible'
                    WHEN reversed_before = original.points THEN 'already-reversed'
                    WHEN p_points > original.points - reversed_before THEN 'already-reversed'
                    WHEN p_points = 0 THEN 'nothing'
                    WHEN p_points < 0 THEN 'negative'
                    WHEN p_points > giver_balance THEN 'insufficient'
                    WHEN receiver_balance > safe_max - p_points THEN 'too-many' END;

    -- 5. Was it done before? Then the first answer is the answer, whatever has become of the balance. The
    --    unique key decides, also between two that use it at this very moment for different customers.
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
            answer := ROW(refusal, NULL, NULL, available)::posting;
        END IF;
        RETURN answer;
    END IF;

    -- 6. Take from the giver's lots: for a reversal first from those with the points that the reversed transfer
    --    brought, then soonest expiry first; out of a hold only what is held there. The first of a member is
    --    known from above. One look into the index
    --    lots_open for each lot, going on where the last one stood, so that the time does not grow with the lots
    --    that a member has.
    missing := CASE WHEN giver_balance IS NULL THEN 0 ELSE p_points END;
    WHILE missing > 0 LOOP
        IF p_reverses IS NOT NULL THEN
            SELECT id, remaining INTO lot, lot_points FROM lots
             WHERE account_id = giver AND open
               AND (transfer_id = p_reverses OR origin = p_reverses OR hold = p_reverses)
             ORDER BY expires_at DESC, id DESC LIMIT 1;
        END IF;
        IF lot IS NULL THEN
            SELECT id, remaining, expires_at INTO lot, lot_points, lot_expiry FROM lots
             WHERE account_id = giver AND open AND (expires_at, id) > (emptied_expiry, emptied)
               AND (p_hold IS NULL OR hold = p_hold)
             ORDER BY expires_at, id LIMIT 1;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'account % has % points more than its lots', giver, missing
                    USING ERRCODE = 'data_corrupted',
                          HINT = 'c360 doctor ledger names the first difference.';
            END IF;
            emptied := lot;
            emptied_expiry := lot_expiry;
        END IF;
        lot_points := least(lot_points, missing);
        UPDATE lots SET remaining = remaining - lot_points WHERE id = lot;
        INSERT INTO uses (transfer_id, lot_id, points) VALUES (new_id, lot, lot_points);
        missing := missing - lot_points;
        lot := NULL;
    END LOOP;

    -- 7. Give to the receiver: a reversal back into the lots that the reversed transfer used, the last used
    --    first, each reversal going on where the one before it ended; where a lot is another account's (merged
    --    since, or held), a new lot like it. Otherwise the giver's lots move with their expiry; otherwise there
    --    is one new lot.
    IF receiver_balance IS NULL THEN
        NULL;  -- the house keeps no lots
    ELSIF p_reverses IS NOT NULL THEN
        FOR lot, lot_points, lot_account IN
            SELECT used.id, least(used.upto, reversed_before + p_points)
                            - greatest(used.upto - used.points, reversed_before), used.account_id
              FROM (SELECT l.id, l.account_id, u.points,
                           (sum(u.points) OVER (ORDER BY l.expires_at DESC, l.id DESC))::bigint AS upto
                      FROM uses AS u JOIN lots AS l ON l.id = u.lot_id WHERE u.transfer_id = p_reverses) AS used
             WHERE used.upto > reversed_before AND used.upto - used.points < reversed_before + p_points
        LOOP
            IF lot_account = receiver THEN
                UPDATE lots SET remaining = remaining + lot_points WHERE id = lot;
                INSERT INTO uses (transfer_id, lot_id, points) VALUES (new_id, lot, -lot_points);
            ELSE
                INSERT INTO lots (account_id, transfer_id, points, remaining, earned_at, expires_at, cost_per_point,
                                  origin)
                SELECT receiver, new_id, lot_points, lot_points, l.earned_at, l.expires_at, l.cost_per_point,
                       coalesce(l.origin, l.transfer_id)
                  FROM lots AS l WHERE l.id = lot;
            END IF;
        END LOOP;
    ELSIF giver_balance IS NOT NULL THEN
        INSERT INTO lots (account_id, transfer_id, points, remaining, earned_at, expires_at, cost_per_point, origin,
                          hold)
        SELECT receiver, new_id, u.points, u.points, l.earned_at, l.expires_at, l.cost_per_point,
               coalesce(l.origin, l.transfer_id), CASE p_to WHEN 'hold' THEN new_id END
          FROM uses AS u JOIN lots AS l ON l.id = u.lot_id WHERE u.transfer_id = new_id ORDER BY l.id;
    ELSE
        INSERT INTO lots (account_id, transfer_id, points, remaining, earned_at, expires_at, cost_per_point,
                          pending_until)
        VALUES (receiver, new_id, p_points, p_points, p_occurred_at, p_expires_at, p_cost_per_point,
                CASE p_to WHEN 'pending' THEN p_pending_until END);
    END IF;

    -- 8. Balances and lifetime totals, with a mark for the 360 view; and the two entries that sum to zero. What
    --    came from or went to the house counts for the lifetime, through whichever account.
    giver_balance := giver_balance - p_points;
    receiver_balance := receiver_balance + p_points;
    available := CASE member WHEN giver THEN giver_balance WHEN receiver THEN receiver_balance ELSE available END;
    UPDATE accounts
       SET balance = available,
           earned = earned + CASE WHEN p_kind <> 'earning' THEN 0
                                  WHEN giver_balance IS NULL THEN p_points ELSE -p_points END,
           spent = spent + CASE WHEN p_kind <> 'redemption' THEN 0
                                WHEN giver_balance IS NULL THEN -p_points ELSE p_points END
     WHERE id = member;
    IF giver <> member AND giver_balance IS NOT NULL THEN
        UPDATE accounts SET balance = giver_balance WHERE id = giver;
    END IF;
    IF receiver <> member AND receiver_balance IS NOT NULL THEN
        UPDATE accounts SET balance = receiver_balance WHERE id = receiver;
    END IF;
    INSERT INTO section_marks (customer_id) VALUES (customer);
    INSERT INTO entries (transfer_id, account_id, points, balance)
    VALUES (new_id, giver, -p_points, giver_balance), (new_id, receiver, p_points, receiver_balance);

    -- 9. Tell the others, when points came from or went to the house; what a member sets aside tells nobody.
    IF giver_balance IS NULL OR receiver_balance IS NULL THEN
        told_id := uuid7();
        told := CASE WHEN p_reverses IS NOT NULL THEN 'points.reversed'
                     WHEN giver_balance IS NULL THEN 'points.earned' ELSE 'points.redeemed' END;
        INSERT INTO outbox (id, type, envelope)
        VALUES (told_id, told, points_event(
            told_id, points_event_head(told, p_traceparent), customer, new_id, p_points, available, p_reason,
            p_occurred_at, CASE p_to WHEN 'pending' THEN p_pending_until END));
    END IF;
    RETURN ROW('posted', new_id, p_points, available)::posting;
END $$;
