-- What happened, as the events told it. Each row comes from one event and its key is that thing's own id,
-- so a repeated event changes nothing and no order matters. Facts are derived from these and nothing else.
CREATE TABLE purchases (
    id           uuid PRIMARY KEY,
    customer_id  uuid NOT NULL,
    amount       bigint NOT NULL,
    currency     text NOT NULL,
    occurred_at  timestamptz NOT NULL
);
CREATE INDEX purchases_customer ON purchases (customer_id) INCLUDE (id, amount, currency, occurred_at);

-- A refund may come before its purchase; it waits here and is counted once both are known.
CREATE TABLE refunds (
    id           uuid PRIMARY KEY,
    purchase_id  uuid NOT NULL,
    amount       bigint NOT NULL,
    occurred_at  timestamptz NOT NULL
);
CREATE INDEX refunds_purchase ON refunds (purchase_id) INCLUDE (amount, occurred_at);

-- A ticket as it last stood. `told_at` and `told_by` are the time and id of the event that said so.
CREATE TABLE tickets (
    id           uuid PRIMARY KEY,
    customer_id  uuid,
    kind         text NOT NULL,
    mood         numeric NOT NULL,
    status       text NOT NULL,
    told_at      timestamptz NOT NULL,
    told_by      uuid NOT NULL
);
CREATE INDEX tickets_customer ON tickets (customer_id) INCLUDE (kind, mood, status);

CREATE TABLE survey_answers (
    id           uuid PRIMARY KEY,
    customer_id  uuid NOT NULL,
    kind         text NOT NULL,
    score        int NOT NULL,
    occurred_at  timestamptz NOT NULL
);
CREATE INDEX survey_answers_customer ON survey_answers (customer_id) INCLUDE (id, kind, score, occurred_at);

-- The sufficient statistics of each customer, as of the observation date. `days` counts days with a
-- purchase: x of the literature is days - 1. Spend is net of refunds, in minor units of `currency`, the one
-- they bought in on most days; the others are in `other_spend`. `repeat_*` leave out the first day.
CREATE TABLE customer_facts (
    customer_id    uuid PRIMARY KEY,
    registered_at  timestamptz,
    purchases      int NOT NULL DEFAULT 0,
    refunds        int NOT NULL DEFAULT 0,
    days           int NOT NULL DEFAULT 0,
    first_on       date,
    last_on        date,
    currency       text,
    spend          bigint,
    currency_days  int,
    repeat_days    int,
    repeat_spend   bigint,
    other_spend    jsonb,
    later          int NOT NULL DEFAULT 0,
    next_on        date,
    tickets        int NOT NULL DEFAULT 0,
    open_tickets   int NOT NULL DEFAULT 0,
    complaints     int NOT NULL DEFAULT 0,
    mood           numeric,
    nps            int,
    csat           int,
    ces            int
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
-- Whose facts change by the mere passing of days: something is known that lies after the observation date.
CREATE INDEX customer_facts_next ON customer_facts (next_on) WHERE next_on IS NOT NULL;

-- The facts of these customers as of a date, computed from what happened; one row for each id.
-- Purchases of one day are one transaction; days are UTC. A purchase that was given back in full never
-- happened; one given back in part is worth the rest. What lies after the date is left out and counted.
CREATE FUNCTION derived_facts(ids uuid[], observed date) RETURNS TABLE (
    customer_id uuid, purchases int, refunds int, days int, first_on date, last_on date, currency text,
    spend bigint, currency_days int, repeat_days int, repeat_spend bigint, other_spend jsonb, later int,
    next_on date, tickets int, open_tickets int, complaints int, mood numeric, nps int, csat int, ces int
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
        SELECT t.customer_id, t.currency, t.day, t.amount - coalesce(t.refunded, 0) AS net,
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
               coalesce(sum(k.net) FILTER (WHERE k.day > k.first_on), 0) AS repeat_spend
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
           t.mood, a.nps, a.csat, a.ces
    FROM unnest(ids) AS wanted (id)
    LEFT JOIN known k ON k.customer_id = wanted.id
    LEFT JOIN bought b ON b.customer_id = wanted.id
    LEFT JOIN ranked r ON r.customer_id = wanted.id AND r.rank = 1
    LEFT JOIN others o ON o.customer_id = wanted.id
    LEFT JOIN asked t ON t.customer_id = wanted.id
    LEFT JOIN answered a ON a.customer_id = wanted.id
$$;

-- Fitted models: parameters and what they came from, no customer's row. One of a kind (and currency) serves.
CREATE TABLE models (
    id               uuid PRIMARY KEY DEFAULT uuid7(),
    kind             text NOT NULL CHECK (kind IN ('bg_nbd', 'gamma_gamma')),
    version          int NOT NULL,
    unit             text CHECK (unit IN ('day', 'week')),
    currency         text,
    params           jsonb NOT NULL,
    standard_errors  jsonb NOT NULL,
    log_likelihood   double precision NOT NULL,
    customers        int NOT NULL,
    window_from      date NOT NULL,
    window_to        date NOT NULL,
    serving          boolean NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, version)
);
CREATE UNIQUE INDEX models_serving ON models (kind, coalesce(currency, '')) WHERE serving;

-- Where recency, frequency and money are cut into fifths, over all buyers, by observation date.
-- `monetary` holds the cuts of each currency: {"CNY": [1200, 3400, 9900, 25000]}.
CREATE TABLE rfm_cuts (
    as_of      date PRIMARY KEY,
    recency    int[] NOT NULL,
    frequency  int[] NOT NULL,
    monetary   jsonb NOT NULL
);

-- A line for each batch of changed facts: the cuts want computing again. Append-only, so nobody waits.
CREATE TABLE fact_changes (
    id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What the scores now stand on besides facts and models.
CREATE TABLE basis (
    only_one  boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    as_of     date NOT NULL,
    words     text NOT NULL
);

CREATE TABLE customer_scores (
    customer_id         uuid PRIMARY KEY,
    as_of               date NOT NULL,
    horizon_days        int NOT NULL,
    recency_score       smallint,
    frequency_score     smallint,
    monetary_score      smallint,
    segment             text,
    p_alive             double precision,
    expected_purchases  double precision,
    clv                 bigint,
    purchase_model      int,
    spend_model         int,
    unknown             text[] NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- Walks over all customers, done a chunk at a time in the background: `rescore` computes scores anew,
-- `rebuild` derives the facts anew first. `after` is how far it has come.
CREATE TABLE walks (
    id           uuid PRIMARY KEY DEFAULT uuid7(),
    kind         text NOT NULL CHECK (kind IN ('rescore', 'rebuild')),
    reason       text NOT NULL,
    after        uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    customers    int NOT NULL DEFAULT 0,
    changed      int NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);
CREATE INDEX walks_waiting ON walks (id) WHERE finished_at IS NULL;
