-- One customer's offers: the sum written in neighbours.mix. Weights are relative to their newest purchase,
-- which changes no score. Read by purchases_customer, the primary keys and item_popularity_best.
-- $1 customer, $2 observation date, $3 most items of theirs, $4 version, $5 half-life in days, $6 group,
-- $7 how many, $8 to $10 weights of together, alike and popular.
WITH lines AS (
    SELECT i.number, (p.occurred_at AT TIME ZONE 'UTC')::date AS day, p.amount, p.id
    FROM purchases p
    JOIN purchase_lines l ON l.purchase_id = p.id
    JOIN items i ON i.sku = l.sku
    WHERE p.customer_id = $1 AND (p.occurred_at AT TIME ZONE 'UTC')::date <= $2::date
), returned AS (
    SELECT r.purchase_id FROM refunds r
    JOIN (SELECT DISTINCT id, amount FROM lines) p ON p.id = r.purchase_id
    WHERE (r.occurred_at AT TIME ZONE 'UTC')::date <= $2::date
    GROUP BY r.purchase_id, p.amount HAVING sum(r.amount) >= p.amount
), basket AS (
    SELECT number, max(day) AS day FROM lines
    WHERE id NOT IN (SELECT purchase_id FROM returned)
    GROUP BY number ORDER BY max(day) DESC, number LIMIT $3
), weighed AS (
    SELECT number, day,
           0.5::float8 ^ least((max(day) OVER () - day) / $5::float8, 500) AS weight FROM basket
), length AS (
    SELECT sqrt(sum(weight * weight)) AS length FROM weighed
), near AS (
    SELECT n.neighbour AS item,
           sum(w.weight * n.together) / l.length AS together, sum(w.weight * n.alike) / l.length AS alike
    FROM weighed w JOIN item_neighbours n ON n.version = $4 AND n.item = w.number CROSS JOIN length l
    GROUP BY n.neighbour, l.length
), popular AS (
    SELECT p.item FROM item_popularity p JOIN items i ON i.number = p.item
    WHERE p.version = $4 AND p.grouping = $6 AND i.in_stock
      AND (i.repeatable OR NOT EXISTS (SELECT FROM lines WHERE number = p.item))
    ORDER BY p.score DESC, p.item LIMIT $7
), rated AS (
    SELECT i.number, i.sku, i.category, i.price, i.currency, i.told,
           coalesce(n.together, 0) AS together,
           coalesce(n.alike, 0) AS alike, coalesce(p.score, 0)::float8 AS popular,
           $8::float8 * coalesce(n.together, 0) + $9::float8 * coalesce(n.alike, 0)
           + $10::float8 * coalesce(p.score, 0) AS score
    FROM (SELECT item FROM near UNION SELECT item FROM popular) c
    JOIN items i ON i.number = c.item
    LEFT JOIN near n ON n.item = c.item
    LEFT JOIN item_popularity p ON p.version = $4 AND p.grouping = $6 AND p.item = c.item
    WHERE i.in_stock AND (i.repeatable OR NOT EXISTS (SELECT FROM lines WHERE number = c.item))
    ORDER BY score DESC, i.number LIMIT $7
)
SELECT r.sku, r.category, r.price, r.currency, r.told, r.score, r.together, r.alike, r.popular,
       t.sku AS goes_with, t.day AS goes_with_on, t.customers, y.sku AS looks_like, y.day AS looks_like_on
FROM rated r
LEFT JOIN LATERAL (
    SELECT i.sku, w.day, n.customers FROM weighed w
    JOIN item_neighbours n ON n.version = $4 AND n.item = w.number AND n.neighbour = r.number
    JOIN items i ON i.number = w.number
    ORDER BY w.weight * n.together DESC, w.number LIMIT 1
) t ON r.together > 0
LEFT JOIN LATERAL (
    SELECT i.sku, w.day FROM weighed w
    JOIN item_neighbours n ON n.version = $4 AND n.item = w.number AND n.neighbour = r.number
    JOIN items i ON i.number = w.number
    ORDER BY w.weight * n.alike DESC, w.number LIMIT 1
) y ON r.alike > 0
ORDER BY r.score DESC, r.number
