-- The loyalty section of many customers at once. Everything in it is bounded. $1: ids, $2: how many entries
-- are recent. Indexes: accounts_kind_owner_key, lots_open, entries_statement.
SELECT a.owner AS customer_id, jsonb_build_object(
    'balance', a.balance,
    'pending', 0,
    'owed', a.owed,
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
 WHERE a.kind = 'member' AND a.owner = ANY ($1::uuid[])
