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
    some_merged boolean := false;
    now_merged  bigint;
    locked      uuid[] := p_owners;
BEGIN
    IF EXISTS (SELECT FROM accounts WHERE kind = 'member' AND owner = ANY (p_owners) AND merged_into IS NOT NULL) THEN
        some_merged := true;
        locked := array(SELECT DISTINCT survivor FROM survivors(p_owners));
    END IF;
    WITH opened AS (
        INSERT INTO accounts (kind, owner, balance)
        SELECT 'member', owner, 0 FROM (SELECT DISTINCT unnest(locked) AS owner) AS wanted
         WHERE NOT EXISTS (SELECT FROM accounts AS a WHERE a.kind = 'member' AND a.owner = wanted.owner)
         ORDER BY owner
        ON CONFLICT DO NOTHING RETURNING owner
    )
    INSERT INTO section_marks (customer_id) SELECT owner FROM opened;
    SELECT count(account.merged_into) INTO now_merged
      FROM (SELECT merged_into FROM accounts WHERE kind = 'member' AND owner = ANY (locked)
             ORDER BY owner FOR NO KEY UPDATE) AS account;
    IF now_merged > 0
       OR some_merged AND EXISTS (SELECT FROM survivors(p_owners) AS s WHERE s.survivor <> ALL (locked)) THEN
        RAISE EXCEPTION 'a customer was merged at this moment' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN some_merged;
END $$;

-- Posts earnings in the order of their time. Each item: owner, points, key, reason, rule, arithmetic,
-- occurred_at, expires_at, event_id, and optionally kind (else 'earning') and pending_until. Returns the new keys,
-- each posted or too-many (the member's balance would not be a safe integer any more, and none of the member's
-- items was posted), with the event that tells it.
CREATE OR REPLACE FUNCTION post_earnings(
    p_items jsonb, p_actor text, p_cost_per_point numeric, p_traceparent text DEFAULT NULL
) RETURNS TABLE (posted_key text, outcome text, told uuid) LANGUAGE plpgsql AS $$
DECLARE
    issuer CONSTANT bigint := 1;
BEGIN
    IF lock_members(array(SELECT (item ->> 'owner')::uuid FROM jsonb_array_elements(p_items) AS item)) THEN
        SELECT jsonb_agg(item || jsonb_build_object('owner', s.survivor)) INTO p_items
          FROM jsonb_array_elements(p_items) AS item
          JOIN survivors(array(SELECT DISTINCT (i ->> 'owner')::uuid FROM jsonb_array_elements(p_items) AS i)) AS s
            ON s.customer = (item ->> 'owner')::uuid;
    END IF;
    PERFORM open_account('pending', owner)
       FROM (SELECT DISTINCT (item ->> 'owner')::uuid AS owner FROM jsonb_array_elements(p_items) AS item
              WHERE item ->> 'pending_until' IS NOT NULL) AS waiting;

    RETURN QUERY
    WITH wanted AS (
        SELECT DISTINCT ON (item.key) item.*, sha256(convert_to(item::text, 'UTF8')) AS input_hash
          FROM jsonb_to_recordset(p_items) AS item (
              owner uuid, points bigint, key text, reason text, rule text, arithmetic text,
              occurred_at timestamptz, expires_at timestamptz, event_id uuid, kind transfer_kind,
              pending_until timestamptz)
         WHERE NOT EXISTS (SELECT FROM transfers AS t WHERE t.idempotency_key = item.key)
    ), numbered AS MATERIALIZED (
        SELECT wanted.*, uuid7() AS transfer_id, member.id AS member_id, coalesce(waiting.id, member.id) AS account_id,
               coalesce(wanted.kind, 'earning') AS posted_kind,
               member.balance + coalesce(waiting.balance, 0) + sum(points) OVER (PARTITION BY member.id) AS total,
               member.balance + coalesce(sum(points) FILTER (WHERE waiting.id IS NULL) OVER earlier, 0) AS available,
               waiting.balance + sum(points) FILTER (WHERE waiting.id IS NOT NULL) OVER earlier AS pending
          FROM wanted JOIN accounts AS member ON member.kind = 'member' AND member.owner = wanted.owner
          LEFT JOIN accounts AS waiting
            ON wanted.pending_until IS NOT NULL AND waiting.kind = 'pending' AND waiting.owner = wanted.owner
        WINDOW earlier AS (PARTITION BY member.id ORDER BY occurred_at, key ROWS UNBOUNDED PRECEDING)
    ), item AS (
        SELECT * FROM numbered WHERE total <= 9007199254740991
    ), new_transfers AS (
        INSERT INTO transfers (id, kind, points, reason, rule, arithmetic, actor, event_id, occurred_at,
                               idempotency_key, input_hash)
        SELECT transfer_id, posted_kind, points, reason, rule, arithmetic, p_actor, event_id, occurred_at,
               key, input_hash
          FROM item
    ), new_entries AS (
        INSERT INTO entries (transfer_id, account_id, points, balance)
        SELECT transfer_id, account_id, points, balance FROM (
            SELECT transfer_id, account_id, points, coalesce(pending, available) AS balance, occurred_at, key FROM item
            UNION ALL SELECT transfer_id, issuer, -points, NULL, occurred_at, key FROM item
        ) AS side ORDER BY occurred_at, key
    ), new_lots AS (
        INSERT INTO lots (account_id, transfer_id, points, remaining, earned_at, expires_at, cost_per_point,
                          pending_until)
        SELECT account_id, transfer_id, points, points, occurred_at, coalesce(expires_at, 'infinity'),
               p_cost_per_point, pending_until
          FROM item ORDER BY occurred_at, key
    ), new_balances AS (
        UPDATE accounts AS a SET balance = a.balance + more.points, earned = a.earned + more.earned
          FROM (SELECT id, sum(side.points)::bigint AS points, sum(side.earned)::bigint AS earned
                  FROM (SELECT account_id AS id, points, 0 AS earned FROM item
                        UNION ALL
                        SELECT member_id, 0, points FROM item WHERE posted_kind = 'earning') AS side
                 GROUP BY id) AS more
         WHERE a.id = more.id
    ), new_marks AS (
        INSERT INTO section_marks (customer_id) SELECT DISTINCT owner FROM item
    )
    SELECT numbered.key,
           CASE WHEN numbered.total > 9007199254740991 THEN 'too-many' ELSE 'posted' END,
           CASE WHEN numbered.total <= 9007199254740991 THEN outbox_emit('points.earned', numbered.owner,
               jsonb_build_object(
                   'customer_id', numbered.owner, 'transfer_id', numbered.transfer_id,
                   'points', numbered.points,
                   'balance', numbered.available,
                   'reason', numbered.reason, 'occurred_at', numbered.occurred_at)
               || CASE WHEN numbered.pending_until IS NULL THEN '{}'
                       ELSE jsonb_build_object('pending_until', numbered.pending_until) END, p_traceparent) END
      FROM numbered;
END $$;
