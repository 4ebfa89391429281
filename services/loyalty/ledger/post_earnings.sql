-- Earnings by the hundred: what post_transfer does for one earning, set-based for the purchases of an event.
-- Keys that were used before are passed over, so that an event may be repeated.
--
-- This file may be run again: a revision that changes a function does so.

-- Opens the accounts that are missing and locks all of them in the order of their owners, as post_transfer does.
-- For who works on many members in one transaction; whoever locks more than one account does it here first.
CREATE OR REPLACE FUNCTION lock_members(p_owners uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH opened AS (
        INSERT INTO accounts (kind, owner, balance)
        SELECT 'member', owner, 0 FROM (SELECT DISTINCT unnest(p_owners) AS owner) AS wanted
         WHERE NOT EXISTS (SELECT FROM accounts AS a WHERE a.kind = 'member' AND a.owner = wanted.owner)
         ORDER BY owner
        ON CONFLICT DO NOTHING RETURNING owner
    )
    INSERT INTO section_marks (customer_id) SELECT owner FROM opened;
    PERFORM 1 FROM accounts WHERE kind = 'member' AND owner = ANY (p_owners) ORDER BY owner FOR NO KEY UPDATE;
END $$;

-- Posts earnings in the order of their time. Each item: owner, points, key, reason, rule, arithmetic,
-- occurred_at, expires_at, event_id. Returns the new keys, each posted or too-many (the member's balance would
-- not be a safe integer any more, and none of the member's items was posted), with the event that tells it.
CREATE OR REPLACE FUNCTION post_earnings(
    p_items jsonb, p_actor text, p_cost_per_point numeric, p_traceparent text DEFAULT NULL
) RETURNS TABLE (posted_key text, outcome text, told uuid) LANGUAGE plpgsql AS $$
DECLARE
    issuer CONSTANT bigint := 1;
BEGIN
    PERFORM lock_members(array(SELECT (item ->> 'owner')::uuid FROM jsonb_array_elements(p_items) AS item));

    RETURN QUERY
    WITH wanted AS (
        SELECT DISTINCT ON (item.key) item.*, sha256(convert_to(item::text, 'UTF8')) AS input_hash
          FROM jsonb_to_recordset(p_items) AS item (
              owner uuid, points bigint, key text, reason text, rule text, arithmetic text,
              occurred_at timestamptz, expires_at timestamptz, event_id uuid)
         WHERE NOT EXISTS (SELECT FROM transfers AS t WHERE t.idempotency_key = item.key)
    ), numbered AS MATERIALIZED (
        SELECT wanted.*, uuid7() AS transfer_id, a.id AS account_id,
               a.balance + sum(wanted.points) OVER member AS total,
               (a.balance + sum(wanted.points) OVER (member ORDER BY occurred_at, key ROWS UNBOUNDED PRECEDING))
                   AS balance
          FROM wanted JOIN accounts AS a ON a.kind = 'member' AND a.owner = wanted.owner
        WINDOW member AS (PARTITION BY a.id)
    ), item AS (
        SELECT * FROM numbered WHERE total <= 9007199254740991
    ), new_transfers AS (
        INSERT INTO transfers (id, kind, points, reason, rule, arithmetic, actor, event_id, occurred_at,
                               idempotency_key, input_hash)
        SELECT transfer_id, 'earning', points, reason, rule, arithmetic, p_actor, event_id, occurred_at,
               key, input_hash
          FROM item
    ), new_entries AS (
        INSERT INTO entries (transfer_id, account_id, points, balance)
        SELECT transfer_id, account_id, points, balance FROM (
            SELECT transfer_id, account_id, points, balance, occurred_at, key FROM item
            UNION ALL SELECT transfer_id, issuer, -points, NULL, occurred_at, key FROM item
        ) AS side ORDER BY occurred_at, key
    ), new_lots AS (
        INSERT INTO lots (account_id, transfer_id, points, remaining, earned_at, expires_at, cost_per_point)
        SELECT account_id, transfer_id, points, points, occurred_at, coalesce(expires_at, 'infinity'),
               p_cost_per_point
          FROM item ORDER BY occurred_at, key
    ), new_balances AS (
        UPDATE accounts AS a SET balance = a.balance + more.points, earned = a.earned + more.points
          FROM (SELECT account_id, sum(points) AS points FROM item GROUP BY account_id) AS more
         WHERE a.id = more.account_id
    ), new_marks AS (
        INSERT INTO section_marks (customer_id) SELECT DISTINCT owner FROM item
    )
    SELECT numbered.key,
           CASE WHEN numbered.total > 9007199254740991 THEN 'too-many' ELSE 'posted' END,
           CASE WHEN numbered.total <= 9007199254740991 THEN outbox_emit('points.earned', numbered.owner,
               jsonb_build_object(
                   'customer_id', numbered.owner, 'transfer_id', numbered.transfer_id,
                   'points', numbered.points, 'balance', numbered.balance,
                   'reason', numbered.reason, 'occurred_at', numbered.occurred_at), p_traceparent) END
      FROM numbered;
END $$;
