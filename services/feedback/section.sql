-- The feedback section of many customers: $1 their ids, $2 tickets per list, $3 days of the mood's span.
-- Indexes: tickets_of_customer, tickets_open_of_customer, survey_answers_of_customer.
SELECT wanted.customer_id,
       jsonb_build_object(
           'open_tickets', jsonb_build_object('count', coalesce(ticket.open, 0), 'items', open_items.items),
           'last_tickets', last_items.items,
           'tickets', jsonb_build_object('count', coalesce(ticket.count, 0),
                                         'mentions', coalesce(ticket.mentions, 0),
                                         'by_kind', coalesce(ticket.by_kind, '{}')),
           'surveys', jsonb_build_object('answers', answer.count,
                                         'nps', answer.last -> 'nps',
                                         'csat', answer.last -> 'csat',
                                         'ces', answer.last -> 'ces'),
           'mood', jsonb_build_object('average', mood.average, 'feedbacks', mood.feedbacks,
                                      'days', $3::int, 'until', newest.at)
       )::text AS body
FROM unnest($1::uuid[]) AS wanted (customer_id)
CROSS JOIN LATERAL (
    SELECT sum(n) AS count, sum(open) AS open, sum(mentions) AS mentions, jsonb_object_agg(kind, n) AS by_kind,
           max(newest) AS newest
    FROM (SELECT kind, count(*) AS n, sum(t.mentions) AS mentions, max(t.occurred_at) AS newest,
                 count(*) FILTER (WHERE status NOT IN ('resolved', 'closed')) AS open
          FROM tickets AS t WHERE t.customer_id = wanted.customer_id GROUP BY kind) AS of_kind
) AS ticket
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(to_jsonb(item) ORDER BY occurred_at DESC, id DESC), '[]') AS items
    FROM (SELECT id, kind, category, severity, mood, status, channel, department, assignee,
                 occurred_at, opened_at
          FROM tickets AS t
          WHERE t.customer_id = wanted.customer_id AND status NOT IN ('resolved', 'closed')
          ORDER BY occurred_at DESC, id DESC LIMIT $2) AS item
) AS open_items
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(to_jsonb(item) ORDER BY occurred_at DESC, id DESC), '[]') AS items
    FROM (SELECT id, kind, category, severity, mood, status, channel, occurred_at, opened_at, resolved_at
          FROM tickets AS t WHERE t.customer_id = wanted.customer_id
          ORDER BY occurred_at DESC, id DESC LIMIT $2) AS item
) AS last_items
CROSS JOIN LATERAL (
    SELECT coalesce(sum(n), 0) AS count, jsonb_object_agg(kind, newest) AS last, max(newest_at) AS newest
    FROM (SELECT DISTINCT ON (s.kind) s.kind, count(*) OVER (PARTITION BY s.kind) AS n, a.occurred_at AS newest_at,
                 jsonb_build_object('score', a.score, 'survey', a.survey_id, 'touchpoint', a.touchpoint,
                                    'occurred_at', a.occurred_at) AS newest
          FROM survey_answers AS a JOIN surveys AS s ON s.id = a.survey_id
          WHERE a.customer_id = wanted.customer_id
          ORDER BY s.kind, a.occurred_at DESC, a.id DESC) AS of_kind
) AS answer
CROSS JOIN LATERAL (SELECT greatest(ticket.newest, answer.newest) AS at) AS newest
CROSS JOIN LATERAL (
    SELECT trim_scale(round(avg(said.mood::numeric), 3)) AS average, count(said.mood) AS feedbacks
    FROM (SELECT t.mood FROM tickets AS t
          WHERE t.customer_id = wanted.customer_id AND t.occurred_at > newest.at - make_interval(days => $3)
          UNION ALL
          SELECT a.mood FROM survey_answers AS a
          WHERE a.customer_id = wanted.customer_id AND a.occurred_at > newest.at - make_interval(days => $3)) AS said
) AS mood
WHERE newest.at IS NOT NULL
