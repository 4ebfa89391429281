-- Earnings by the hundred: what post_transfer does for one earning, set-based for the purchases of an event.
-- Keys that were used before are passed over, so that an event may be repeated.
--
-- This file may be run again: a revision that changes a function does so.

-- Whose points the points of these customers are now: themselves, or who they were merged into.
CREATE OR REPLACE FUNCTION survivors(p_customers uuid[]) RETURNS TABLE (customer uuid, survivor uuid)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    WITH RECURSIVE up AS (
        SELECT wanted AS customer, wanted AS at FROM unnest(p_customers) AS wanted
        UNION
        SELECT up.customer, a.merged_into FROM up
          JOIN accounts AS a ON a.kind = 'member' AND a.owner = up.at AND a.merged_into IS NOT NULL
    )
    SELECT up.customer, up.at FROM up
     WHERE NOT EXISTS (SELECT FROM accounts AS a
                        WHERE a.kind = 'member' AND a.owner = up.at AND a.merged_into IS NOT NULL);
END $$;

-- Opens the accounts that are missing and locks all of them in the order of their owners; for merged customers
-- the survivors'. For who works on many members in one transaction; whoever locks more than one does it here
-- first. Returns whether some were merged. Raises a serialization failure, to be tried again, when one was merged
-- or unmerged while it waited.
CREATE OR REPLACE FUNCTION lock_members(p_owners uuid[]) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    missing     uuid[];
    some_merged boolean;
    now_merged  bigint;
    locked      uuid[] := p_owners;
BEGIN
    SELECT array_agg(wanted.owner ORDER BY wanted.owner) FILTER (WHERE a.id IS NULL),
           coalesce(bool_or(a.merged_into IS NOT NULL), false)
      INTO missing, some_merged
      FROM (SELECT DISTINCT unnest(p_owners) AS owner) AS wanted
      LEFT JOIN LATERAL (SELECT id, merged_into FROM accounts
                          WHERE kind = 'member' AND owner = wanted.owner OFFSET 0) AS a ON true;
    IF some_merged THEN
        locked := array(SELECT DISTINCT survivor FROM survivors(p_owners));
    END IF;
    IF missing IS NOT NULL THEN
        WITH opened AS (
            INSERT INTO accounts (kind, owner, balance) SELECT 'member', unnest(missing), 0
            ON CONFLICT DO NOTHING RETURNING owner
        )
        INSERT INTO section_marks (customer_id) SELECT owner FROM opened;
    END IF;
    SELECT count(account.merged_into) INTO now_merged
      FROM (SELECT merged_into FROM accounts WHERE kind = 'member' AND owner = ANY (locked)
             ORDER BY owner FOR NO KEY UPDATE) AS account;
    IF now_merged > 0
       OR some_merged AND EXISTS (SELECT FROM survivors(p_owners) AS s WHERE s.survivor <> ALL (locked)) THEN
        RAISE EXCEPTION 'a customer was merged at this moment' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN some_merged;
END $$;

-- Posts earnings in the order of their time, given by columns; of each column one value for each earning.
-- pending_until: NULL for points that are available at once. Returns the new keys, each posted or too-many (the
-- member's balance would not be a safe integer any more, and none of the member's earnings was posted).
CREATE OR REPLACE FUNCTION post_earnings(
    p_owners uuid[], p_kinds transfer_kind[], p_points bigint[], p_keys text[], p_reasons text[], p_rules text[],
    p_arithmetics text[], p_occurred_at timestamptz[], p_expires_at timestamptz[], p_pending_until timestamptz[],
    p_event_ids uuid[],
    p_transfer_ids uuid[],  -- of the transfers, made by the caller,
    p_told_ids uuid[],      -- and of the events that tell them
    p_actor text, p_cost_per_point numeric, p_traceparent text DEFAULT NULL
) RETURNS TABLE (posted_key text, outcome text) LANGUAGE plpgsql AS $$
DECLARE
    issuer CONSTANT bigint := 1;
    told   CONSTANT text   := points_event_head('points.earned', p_traceparent);
BEGIN
    IF lock_members(p_owners) THEN
        p_owners := array(SELECT s.survivor FROM unnest(p_owners) WITH ORDINALITY AS item (owner, place)
                            JOIN survivors(p_owners) AS s ON s.customer = item.owner ORDER BY item.place);
    END IF;
    IF array_remove(p_pending_until, NULL) <> '{}' THEN
        PERFORM open_account('pending', owner) FROM (
            SELECT DISTINCT owner FROM unnest(p_owners, p_pending_until) AS item (owner, pending_until)
             WHERE pending_until IS NOT NULL ORDER BY owner) AS waiting;
    END IF;

    RETURN QUERY
    WITH wanted AS (
        SELECT DISTINCT ON (item.key) item.*
          FROM unnest(p_owners, p_kinds, p_points, p_keys, p_reasons, p_rules, p_arithmetics, p_occurred_at,
                      p_expires_at, p_pending_until, p_event_ids, p_transfer_ids, p_told_ids)
               AS item (owner, kind, points, key, reason, rule, arithmetic, occurred_at, expires_at, pending_until,
                        event_id, transfer_id, told_id)
         WHERE NOT EXISTS (SELECT FROM transfers AS t WHERE t.idempotency_key = item.key)
    ), numbered AS MATERIALIZED (
        SELECT wanted.*, member.id AS member_id, coalesce(waiting.id, member.id) AS account_id,
               member.balance + coalesce(waiting.balance, 0) + sum(points) OVER (PARTITION BY member.id) AS total,
               member.balance + coalesce(sum(points) FILTER (WHERE waiting.id IS NULL) OVER earlier, 0) AS available,
               waiting.balance + sum(points) FILTER (WHERE waiting.id IS NOT NULL) OVER earlier AS pending
          FROM wanted
         -- OFFSET 0: one look into the index for each item. The planner, which cannot know how many items there
         -- are, would otherwise compare each with every member.
         CROSS JOIN LATERAL (SELECT a.id, a.balance FROM accounts AS a
                              WHERE a.kind = 'member' AND a.owner = wanted.owner OFFSET 0) AS member
          LEFT JOIN LATERAL (SELECT a.id, a.balance FROM accounts AS a
                              WHERE wanted.pending_until IS NOT NULL AND a.kind = 'pending' AND a.owner = wanted.owner
                             OFFSET 0) AS waiting ON true
        WINDOW earlier AS (PARTITION BY member.id ORDER BY occurred_at, key ROWS UNBOUNDED PRECEDING)
    ), item AS MATERIALIZED (
        SELECT * FROM numbered WHERE total <= 9007199254740991 ORDER BY occurred_at, key
    ), new_transfers AS (
        INSERT INTO transfers (id, kind, points, reason, rule, arithmetic, actor, event_id, occurred_at,
                               idempotency_key, input_hash)
        SELECT transfer_id, kind, points, reason, rule, arithmetic, p_actor, event_id, occurred_at,
               key, ''
          FROM item
    ), new_entries AS (
        INSERT INTO entries (transfer_id, account_id, points, balance)
        SELECT transfer_id, side.account_id, side.points, side.balance
          FROM item
         CROSS JOIN LATERAL (VALUES (account_id, points, coalesce(pending, available)), (issuer, -points, NULL))
               AS side (account_id, points, balance)
    ), new_lots AS (
        INSERT INTO lots (account_id, transfer_id, points, remaining, earned_at, expires_at, cost_per_point,
                          pending_until)
        SELECT account_id, transfer_id, points, points, occurred_at, coalesce(expires_at, 'infinity'),
               p_cost_per_point, pending_until
          FROM item
    ), new_balances AS (
        UPDATE accounts AS a SET balance = a.balance + more.points, earned = a.earned + more.earned
          FROM (SELECT side.id, sum(side.points)::bigint AS points, sum(side.earned)::bigint AS earned
                  FROM item CROSS JOIN LATERAL (VALUES
                       (account_id, points, 0), (member_id, 0, CASE kind WHEN 'earning' THEN points ELSE 0 END)
                       ) AS side (id, points, earned)
                 GROUP BY side.id) AS more
         WHERE a.id = more.id
    ), new_marks AS (
        INSERT INTO section_marks (customer_id) SELECT DISTINCT owner FROM item
    ), new_events AS (
        INSERT INTO outbox (id, type, envelope)
        SELECT told_id, 'points.earned',
               points_event(told_id, told, owner, transfer_id, points, available::bigint, reason, occurred_at,
                            pending_until)
          FROM item
    )
    SELECT numbered.key, CASE WHEN numbered.total > 9007199254740991 THEN 'too-many' ELSE 'posted' END FROM numbered;
END $$;
