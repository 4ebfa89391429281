-- Models of purchases compete for one place: whichever predicts the hold-out best serves. Those of spend
-- have a place for each currency.
ALTER TABLE models DROP CONSTRAINT models_kind_check;
ALTER TABLE models ADD CONSTRAINT models_kind_check
    CHECK (kind IN ('bg_nbd', 'mbg_nbd', 'pareto_nbd', 'gamma_gamma'));

-- `covariance` of the estimates, in the order of the literature; `data_hash` of the histories that were
-- fitted; `quality` on the hold-out, null with the reason in `promotion` when there was none; `replaced` is
-- the model that served before this one, to go back to; `drift` compares what came with what it expected.
ALTER TABLE models
    ADD COLUMN covariance jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN data_hash  text,
    ADD COLUMN quality    jsonb,
    ADD COLUMN promotion  text NOT NULL DEFAULT 'served from the day it was fitted',
    ADD COLUMN replaced   uuid,
    ADD COLUMN drift      jsonb;

DROP INDEX models_serving;
CREATE UNIQUE INDEX models_serving ON models ((kind = 'gamma_gamma'), coalesce(currency, '')) WHERE serving;

-- Which kind `purchase_model` is a version of.
ALTER TABLE customer_scores ADD COLUMN purchase_kind text NOT NULL DEFAULT 'bg_nbd';

-- What a purchase cost the shop, null where not all of its lines say so.
ALTER TABLE purchases ADD COLUMN cost bigint;

-- Repeat spend before refunds: how much customers give back is a rate of its own, and the value of a
-- purchase is modelled without it. Null until the facts are derived anew.
ALTER TABLE customer_facts ADD COLUMN repeat_gross bigint;

-- Of models of spend: the share of spend that is given back, and the share of what is left that it cost
-- (null where too few purchases say).
ALTER TABLE models
    ADD COLUMN refund_rate double precision NOT NULL DEFAULT 0,
    ADD COLUMN cost_rate   double precision;

-- As in 0001, with repeat_gross.
DROP FUNCTION derived_facts;
CREATE FUNCTION derived_facts(ids uuid[], observed date) RETURNS TABLE (
    customer_id uuid, purchases int, refunds int, days int, first_on date, last_on date, currency text,
    spend bigint, currency_days int, repeat_days int, repeat_spend bigint, other_spend jsonb, later int,
    next_on date, tickets int, open_tickets int, complaints int, mood numeric, nps int, csat int, ces int,
    repeat_gross bigint
) LANGUAGE sql STABLE AS $$
    WITH told AS (
        SELECT p.customer_id, p.amount, p.currency, (p.occurred_at AT TIME ZONE 'UTC')::date AS day,
               given_back.amount AS refunded, given_back.refunds, given_back.next_on
        FROM purchases p
        LEFT JOIN LATERAL (
            SELECT sum(r.amount) FILTER (WHERE r.day <= observed) AS amount,
                   (count(*) FILTER (WHERE r.day <= observed))::int AS refunds,
                   min(r.day) FILTER (WHERE r.day > observed) AS next_on
            FROM (SELECT amount, (occurred_at AT TIME ZONE 'UTC')::date AS day
                  FROM refunds WHERE purchase_id = p.id) r
        ) given_back ON true
        WHERE p.customer_id = ANY (ids)
    ), kept AS (
        SELECT t.customer_id, t.currency, t.day, t.amount, t.amount - coalesce(t.refunded, 0) AS net,
               min(t.day) OVER (PARTITION BY t.customer_id) AS first_on
        FROM told t
        WHERE t.day <= observed AND (t.refunded IS NULL OR t.refunded < t.amount)
    ), known AS (
        SELECT t.customer_id, sum(t.refunds) FILTER (WHERE t.day <= observed) AS refunds,
               count(*) FILTER (WHERE t.day > observed) AS later,
               least(min(t.day) FILTER (WHERE t.day > observed), min(t.next_on)) AS next_on
        FROM told t GROUP BY 1
    ), bought AS (
        SELECT k.customer_id, count(*) AS purchases, count(DISTINCT k.day) AS days,
               min(k.day) AS first_on, max(k.day) AS last_on
        FROM kept k GROUP BY 1
    ), in_currency AS (
        SELECT k.customer_id, k.currency, sum(k.net) AS spend, count(DISTINCT k.day) AS days,
               count(DISTINCT k.day) FILTER (WHERE k.day > k.first_on) AS repeat_days,
               coalesce(sum(k.net) FILTER (WHERE k.day > k.first_on), 0) AS repeat_spend,
               coalesce(sum(k.amount) FILTER (WHERE k.day > k.first_on), 0) AS repeat_gross
        FROM kept k GROUP BY 1, 2
    ), ranked AS (
        SELECT c.*, row_number() OVER (PARTITION BY c.customer_id ORDER BY c.days DESC, c.currency) AS rank
        FROM in_currency c
    ), others AS (
        SELECT r.customer_id, jsonb_agg(jsonb_build_object(
                   'currency', r.currency, 'amount', r.spend, 'days', r.days) ORDER BY r.currency) AS spend
        FROM ranked r WHERE r.rank > 1 GROUP BY 1
    ), asked AS (
        SELECT t.customer_id, count(*) AS tickets,
               count(*) FILTER (WHERE t.status NOT IN ('resolved', 'closed')) AS open_tickets,
               count(*) FILTER (WHERE t.kind = 'complaint') AS complaints, round(avg(t.mood), 4) AS mood
        FROM tickets t WHERE t.customer_id = ANY (ids) GROUP BY 1
    ), answered AS (
        SELECT a.customer_id,
               (array_agg(a.score ORDER BY a.occurred_at DESC, a.id DESC) FILTER (WHERE a.kind = 'nps'))[1] AS nps,
               (array_agg(a.score ORDER BY a.occurred_at DESC, a.id DESC) FILTER (WHERE a.kind = 'csat'))[1] AS csat,
               (array_agg(a.score ORDER BY a.occurred_at DESC, a.id DESC) FILTER (WHERE a.kind = 'ces'))[1] AS ces
        FROM survey_answers a WHERE a.customer_id = ANY (ids) GROUP BY 1
    )
    SELECT wanted.id, coalesce(b.purchases, 0)::int, coalesce(k.refunds, 0)::int, coalesce(b.days, 0)::int,
           b.first_on, b.last_on, r.currency, r.spend::bigint, r.days::int, r.repeat_days::int,
           r.repeat_spend::bigint, o.spend, coalesce(k.later, 0)::int, k.next_on,
           coalesce(t.tickets, 0)::int, coalesce(t.open_tickets, 0)::int, coalesce(t.complaints, 0)::int,
           t.mood, a.nps, a.csat, a.ces, r.repeat_gross::bigint
    FROM unnest(ids) AS wanted (id)
    LEFT JOIN known k ON k.customer_id = wanted.id
    LEFT JOIN bought b ON b.customer_id = wanted.id
    LEFT JOIN ranked r ON r.customer_id = wanted.id AND r.rank = 1
    LEFT JOIN others o ON o.customer_id = wanted.id
    LEFT JOIN asked t ON t.customer_id = wanted.id
    LEFT JOIN answered a ON a.customer_id = wanted.id
$$;

INSERT INTO walks (kind, reason)
SELECT 'rebuild', 'refunds apart' WHERE EXISTS (SELECT FROM customer_facts);

-- What was bought up to a day and not given back in full by then, purchase by purchase. The
-- same rules as those of derived_facts, for windows that facts are not kept of.
CREATE FUNCTION kept_purchases(observed date)
RETURNS TABLE (customer_id uuid, currency text, day date, gross bigint, refunded bigint, cost bigint)
LANGUAGE sql STABLE AS $$
    SELECT p.customer_id, p.currency, (p.occurred_at AT TIME ZONE 'UTC')::date, p.amount,
           coalesce(g.amount, 0)::bigint, p.cost
    FROM purchases p LEFT JOIN (
        SELECT r.purchase_id, sum(r.amount) AS amount FROM refunds r
        WHERE (r.occurred_at AT TIME ZONE 'UTC')::date <= observed GROUP BY 1
    ) g ON g.purchase_id = p.id
    WHERE (p.occurred_at AT TIME ZONE 'UTC')::date <= observed
      AND (g.amount IS NULL OR g.amount < p.amount)
$$;
