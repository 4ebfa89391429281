-- The profile section of many customers at once. Everything in it is bounded. $1: ids, $2: the rule's name,
-- $3: how many purchases and activities are recent.
SELECT c.id, jsonb_build_object(
    'name', (SELECT v.value FROM attribute_values AS v
             WHERE v.customer_id = c.id AND v.name = 'name' AND v.rank = 0),
    'registered_at', c.created_at,
    'version', c.version,
    'identities', coalesce((
        SELECT jsonb_agg(jsonb_build_object(
                   'kind', i.kind, 'source', nullif(i.source, ''), 'value', i.value, 'verified', i.verified)
               ORDER BY i.kind, i.source, i.value)
        FROM identities AS i WHERE i.customer_id = c.id), '[]'),
    'attributes', coalesce((
        SELECT jsonb_object_agg(v.name, jsonb_build_object(
                   'value', v.value, 'source', v.source, 'observed_at', v.observed_at, 'trust', v.trust, 'rule', $2::text))
        FROM attribute_values AS v
        WHERE v.customer_id = c.id AND v.rank = 0 AND v.value <> 'null'), '{}'),
    'consents', coalesce((
        SELECT jsonb_agg(jsonb_build_object(
                   'purpose', s.purpose, 'channel', s.channel, 'status', s.status,
                   'occurred_at', s.occurred_at, 'expires_at', s.expires_at) ORDER BY s.purpose, s.channel)
        FROM (SELECT DISTINCT ON (k.purpose, k.channel) k.* FROM consents AS k WHERE k.customer_id = c.id
              ORDER BY k.purpose, k.channel, k.occurred_at DESC, k.id DESC) AS s), '[]'),
    'purchases', (
        SELECT jsonb_build_object(
            'count', coalesce(sum(t.purchases), 0),
            'first_at', min(t.first_at),
            'last_at', max(t.last_at),
            'totals', coalesce(jsonb_agg(jsonb_build_object(
                'currency', t.currency, 'count', t.purchases, 'amount', t.amount, 'refunded', t.refunded)
                ORDER BY t.currency), '[]'))
        FROM purchase_totals AS t WHERE t.customer_id = c.id),
    'recent_purchases', coalesce((
        SELECT jsonb_agg(jsonb_build_object(
                   'id', p.id, 'source', p.source, 'source_id', p.source_id, 'currency', p.currency,
                   'amount', p.amount, 'refunded', p.refunded, 'lines', jsonb_array_length(p.lines),
                   'touchpoint', p.touchpoint, 'channel', p.channel, 'occurred_at', p.occurred_at)
               ORDER BY p.occurred_at DESC, p.id DESC)
        FROM (SELECT * FROM purchases AS own WHERE own.customer_id = c.id
              ORDER BY own.occurred_at DESC, own.id DESC LIMIT $3) AS p), '[]'),
    'recent_activities', coalesce((
        SELECT jsonb_agg(jsonb_build_object(
                   'id', a.id, 'kind', a.kind, 'touchpoint', a.touchpoint, 'channel', a.channel,
                   'stage', a.stage, 'occurred_at', a.occurred_at)
               ORDER BY a.occurred_at DESC, a.id DESC)
        FROM (SELECT * FROM activities AS own WHERE own.customer_id = c.id
              ORDER BY own.occurred_at DESC, own.id DESC LIMIT $3) AS a), '[]'))::text AS section
FROM customers AS c WHERE c.id = ANY($1::uuid[])
