-- The loyalty section of many customers at once. Everything in it is bounded. $1: ids, $2: how many entries
-- are recent. Indexes: accounts_kind_owner_key, lots_open, entries_statement. The ids stand in a query of their own
-- so that the planner, which cannot count them there, keeps one plan: planning anew took longer than reading.
SELECT a.owner AS customer_id, jsonb_build_object(
    'balance', a.balance,
    'pending', coalesce((SELECT w.balance FROM accounts AS w WHERE w.kind = 'pending' AND w.owner = a.owner), 0),
    'held', coalesce((SELECT h.balance FROM accounts AS h WHERE h.kind = 'hold' AND h.owner = a.owner), 0),
    'owed', a.owed,
    'tier', coalesce(
        (SELECT s.shown FROM standings AS s WHERE s.customer_id = a.owner),
        (SELECT t.newcomer FROM tier_tables AS t ORDER BY t.version DESC LIMIT 1)),
    'lifetime', jsonb_build_object('earned', a.earned, 'spent', a.spent),
    'next_expiry', (
        SELECT jsonb_build_object('points', sum(l.remaining), 'expires_at', l.expires_at)
          FROM lots AS l
         WHERE l.account_id = a.id AND l.open AND l.expires_at < 'infinity'
         GROUP BY l.expires_at ORDER BY l.expires_at LIMIT 1),
    'recent', coalesce((
        SELECT jsonb_agg(jsonb_build_object(
                   'transfer_id', t.id, 'kind', t.kind, 'points', e.points, 'balance', e.balance,
                   'reason', t.reason, 'rule', t.rule, 'arithmetic', t.arithmetic, 'reverses', t.reverses,
                   'occurred_at', t.occurred_at) ORDER BY e.id DESC)
          FROM (SELECT * FROM entries AS own
                 WHERE own.account_id = a.id AND own.balance IS NOT NULL ORDER BY own.id DESC LIMIT $2) AS e
          JOIN transfers AS t ON t.id = e.transfer_id), '[]'))::text AS section
  FROM accounts AS a
 WHERE a.kind = 'member' AND a.owner = ANY ((SELECT $1::uuid[])::uuid[]) AND a.merged_into IS NULL
