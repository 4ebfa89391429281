-- What else happened, so that facts say more than days and money: the lines of purchases, where they were
-- made, how tickets went, tier and points, consents and attributes; and who became one with whom.

-- In every table of what happened `customer_id` is whose it is now, and `told_of` whom the event named where
-- that is somebody else, who was merged. So the undoing of a merge gives each their own again, to the row.
ALTER TABLE purchases ADD COLUMN touchpoint text, ADD COLUMN channel text, ADD COLUMN told_of uuid;
ALTER TABLE survey_answers ADD COLUMN told_of uuid;
ALTER TABLE referrals ADD COLUMN told_of uuid;
ALTER TABLE tickets
    ADD COLUMN category text NOT NULL DEFAULT 'other',
    ADD COLUMN severity text NOT NULL DEFAULT 'low',
    ADD COLUMN breached boolean NOT NULL DEFAULT false,
    ADD COLUMN told_of uuid;

-- Whose a refund is says its event, since its purchase may never come.
ALTER TABLE refunds ADD COLUMN customer_id uuid, ADD COLUMN told_of uuid;
UPDATE refunds r SET customer_id = p.customer_id FROM purchases p WHERE p.id = r.purchase_id;
CREATE INDEX refunds_customer ON refunds (customer_id);

-- The lines of a purchase in its order; amounts in minor units of the purchase's currency.
CREATE TABLE purchase_lines (
    purchase_id  uuid NOT NULL,
    line         smallint NOT NULL,
    sku          text NOT NULL,
    category     text,
    quantity     int NOT NULL,
    amount       bigint NOT NULL,
    cost         bigint,
    PRIMARY KEY (purchase_id, line)
);

-- Since when a customer is known.
CREATE TABLE registrations (
    customer_id    uuid NOT NULL,
    told_of        uuid,
    registered_at  timestamptz NOT NULL
);
CREATE UNIQUE INDEX registrations_told ON registrations (coalesce(told_of, customer_id));
CREATE INDEX registrations_customer ON registrations (customer_id);
INSERT INTO registrations (customer_id, registered_at)
SELECT customer_id, registered_at FROM customer_facts WHERE registered_at IS NOT NULL;

-- A customer's chosen values, one by one: an event tells the changed ones only, and may come late. A value
-- that was taken away, or is none to compute with, is null.
CREATE TABLE told_attributes (
    customer_id  uuid NOT NULL,
    told_of      uuid,
    name         text NOT NULL,
    value        jsonb,
    told_at      timestamptz NOT NULL,
    told_by      uuid NOT NULL
);
CREATE UNIQUE INDEX told_attributes_told ON told_attributes (coalesce(told_of, customer_id), name);
CREATE INDEX told_attributes_customer ON told_attributes (customer_id, name);

-- Of all that is told of those who are one, the newest stands.
CREATE VIEW customer_attributes AS
SELECT customer_id, name, value, told_at FROM (
    SELECT DISTINCT ON (customer_id, name) customer_id, name, value, told_at
    FROM told_attributes ORDER BY customer_id, name, told_at DESC, told_by DESC
) newest WHERE value IS NOT NULL;

-- A customer's latest will about a purpose and channel.
CREATE TABLE told_consents (
    customer_id  uuid NOT NULL,
    told_of      uuid,
    purpose      text NOT NULL,
    channel      text NOT NULL,
    status       text NOT NULL CHECK (status IN ('granted', 'denied', 'withdrawn')),
    occurred_at  timestamptz NOT NULL,
    told_by      uuid NOT NULL
);
CREATE UNIQUE INDEX told_consents_told ON told_consents (coalesce(told_of, customer_id), purpose, channel);
CREATE INDEX told_consents_customer ON told_consents (customer_id);

CREATE VIEW consents AS
SELECT DISTINCT ON (customer_id, purpose, channel) customer_id, purpose, channel, status, occurred_at
FROM told_consents ORDER BY customer_id, purpose, channel, occurred_at DESC, told_by DESC;

-- Tier and points as loyalty last told them, apart: `what` is tier or points.
CREATE TABLE told_standings (
    customer_id  uuid NOT NULL,
    told_of      uuid,
    what         text NOT NULL CHECK (what IN ('tier', 'points')),
    tier         text,
    points       bigint,
    told_at      timestamptz NOT NULL,
    told_by      uuid NOT NULL
);
CREATE UNIQUE INDEX told_standings_told ON told_standings (coalesce(told_of, customer_id), what);
CREATE INDEX told_standings_customer ON told_standings (customer_id);

CREATE VIEW loyalty_standings AS
SELECT customer_id,
       (array_agg(tier ORDER BY told_at DESC, told_by DESC) FILTER (WHERE what = 'tier'))[1] AS tier,
       (array_agg(points ORDER BY told_at DESC, told_by DESC) FILTER (WHERE what = 'points'))[1] AS points
FROM told_standings GROUP BY customer_id;

-- Who became one with whom. An undone merge stays, so that a merge that comes after its undoing does nothing.
CREATE TABLE merges (
    merge_id     uuid PRIMARY KEY,
    survivor_id  uuid NOT NULL,
    merged_id    uuid NOT NULL,
    undone       boolean NOT NULL
);
CREATE INDEX merges_survivor ON merges (survivor_id);
CREATE INDEX merges_merged ON merges (merged_id);

-- Customers who are not themselves: what is told of them belongs to `owner`; of whom that is null are
-- forgotten, and nothing more is written down of them.
CREATE TABLE owners (
    customer_id  uuid PRIMARY KEY,
    owner        uuid
);

-- The tables of what is told of customers, each with `customer_id` and `told_of`.
CREATE FUNCTION told_tables() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY['purchases', 'refunds', 'tickets', 'survey_answers', 'referrals', 'registrations',
                 'told_attributes', 'told_consents', 'told_standings', 'exposures']
$$;

-- Let what was told of these customers, and belonged to those, belong to these owners from now on.
CREATE FUNCTION move_customers(ids uuid[], old_owners uuid[], new_owners uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY told_tables() LOOP
        EXECUTE format($move$
            UPDATE %I t SET customer_id = now.owner,
                            told_of = nullif(coalesce(t.told_of, t.customer_id), now.owner)
            FROM unnest($1, $2, $3) AS now (id, before, owner)
            WHERE t.customer_id = now.before AND coalesce(t.told_of, t.customer_id) = now.id
        $move$, part) USING ids, old_owners, new_owners;
    END LOOP;
END $$;

-- Delete all that was told of these customers, whosever it is now; returns how many rows of which table.
CREATE FUNCTION forget_customers(ids uuid[], their_owners uuid[]) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    part   text;
    gone   int;
    counts jsonb := '{}';
BEGIN
    DELETE FROM purchase_lines WHERE purchase_id IN (
        SELECT id FROM purchases
        WHERE customer_id = ANY (their_owners) AND coalesce(told_of, customer_id) = ANY (ids));
    GET DIAGNOSTICS gone = ROW_COUNT;
    counts := counts || jsonb_build_object('purchase_lines', gone);
    FOREACH part IN ARRAY told_tables() LOOP
        EXECUTE format('DELETE FROM %I WHERE customer_id = ANY ($2) AND coalesce(told_of, customer_id) = ANY ($1)',
                       part) USING ids, their_owners;
        GET DIAGNOSTICS gone = ROW_COUNT;
        counts := counts || jsonb_build_object(part, gone);
    END LOOP;
    DELETE FROM merges WHERE survivor_id = ANY (ids) OR merged_id = ANY (ids);
    GET DIAGNOSTICS gone = ROW_COUNT;
    counts := counts || jsonb_build_object('merges', gone);
    DELETE FROM rfm_history WHERE customer_id = ANY (ids);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN counts || jsonb_build_object('rfm_history', gone);
END $$;

-- `gap_mean` and `gap_deviation` are of the days between a purchase day and the next (the deviation divides
-- by n - 1 and needs two gaps). `channels` counts purchases by channel, `hours` by hour of the day in UTC,
-- from 0 to 23; `complaint_categories` complaints by category. Severe are tickets of high or critical
-- severity; breaches those that missed what was promised.
ALTER TABLE customer_facts
    ADD COLUMN gap_mean              double precision,
    ADD COLUMN gap_deviation         double precision,
    ADD COLUMN channels              jsonb,
    ADD COLUMN hours                 int[],
    ADD COLUMN complaint_categories  jsonb,
    ADD COLUMN severe_tickets        int NOT NULL DEFAULT 0,
    ADD COLUMN breaches              int NOT NULL DEFAULT 0,
    ADD COLUMN tier                  text,
    ADD COLUMN points                bigint;

-- As in 0002, with what is new. Whole numbers are added up, so that no order of rows shows in a digit.
DROP FUNCTION derived_facts;
CREATE FUNCTION derived_facts(ids uuid[], observed date) RETURNS TABLE (
    customer_id uuid, purchases int, refunds int, days int, first_on date, last_on date, currency text,
    spend bigint, currency_days int, repeat_days int, repeat_spend bigint, other_spend jsonb, later int,
    next_on date, tickets int, open_tickets int, complaints int, mood numeric, nps int, csat int, ces int,
    repeat_gross bigint, registered_at timestamptz, gap_mean float8, gap_deviation float8, channels jsonb,
    hours int[], complaint_categories jsonb, severe_tickets int, breaches int, tier text, points bigint
) LANGUAGE sql STABLE AS $$
    WITH given_back AS (
        SELECT r.purchase_id, sum(r.amount) FILTER (WHERE r.day <= observed) AS amount,
               count(*) FILTER (WHERE r.day <= observed) AS refunds,
               min(r.day) FILTER (WHERE r.day > observed) AS next_on
        FROM (SELECT r.purchase_id, r.amount, (r.occurred_at AT TIME ZONE 'UTC')::date AS day
              FROM purchases p JOIN refunds r ON r.purchase_id = p.id WHERE p.customer_id = ANY (ids)) r
        GROUP BY 1
    ), told AS (
        SELECT p.customer_id, p.amount, p.currency, p.channel, (p.occurred_at AT TIME ZONE 'UTC')::date AS day,
               extract(hour FROM p.occurred_at AT TIME ZONE 'UTC')::int AS hour,
               g.amount AS refunded, g.refunds, g.next_on
        FROM purchases p LEFT JOIN given_back g ON g.purchase_id = p.id
        WHERE p.customer_id = ANY (ids)
    ), kept AS (
        SELECT t.customer_id, t.currency, t.channel, t.day, t.hour, t.amount,
               t.amount - coalesce(t.refunded, 0) AS net
        FROM told t
        WHERE t.day <= observed AND (t.refunded IS NULL OR t.refunded < t.amount)
    ), known AS (
        SELECT t.customer_id, sum(t.refunds) FILTER (WHERE t.day <= observed) AS refunds,
               count(*) FILTER (WHERE t.day > observed) AS later,
               least(min(t.day) FILTER (WHERE t.day > observed), min(t.next_on)) AS next_on
        FROM told t GROUP BY 1
    ), days AS (
        SELECT k.customer_id, k.day, count(*) AS purchases,
               k.day - lag(k.day) OVER (PARTITION BY k.customer_id ORDER BY k.day) AS gap
        FROM kept k GROUP BY 1, 2
    ), bought AS (
        SELECT d.customer_id, sum(d.purchases) AS purchases, count(*) AS days, min(d.day) AS first_on,
               max(d.day) AS last_on, sum(d.gap::bigint * d.gap) AS gap_squares
        FROM days d GROUP BY 1
    ), clock AS (
        SELECT k.customer_id,
               ARRAY[count(*) FILTER (WHERE k.hour = 0), count(*) FILTER (WHERE k.hour = 1), count(*) FILTER (WHERE k.hour = 2),
                     count(*) FILTER (WHERE k.hour = 3), count(*) FILTER (WHERE k.hour = 4), count(*) FILTER (WHERE k.hour = 5),
                     count(*) FILTER (WHERE k.hour = 6), count(*) FILTER (WHERE k.hour = 7), count(*) FILTER (WHERE k.hour = 8),
                     count(*) FILTER (WHERE k.hour = 9), count(*) FILTER (WHERE k.hour = 10), count(*) FILTER (WHERE k.hour = 11),
                     count(*) FILTER (WHERE k.hour = 12), count(*) FILTER (WHERE k.hour = 13), count(*) FILTER (WHERE k.hour = 14),
                     count(*) FILTER (WHERE k.hour = 15), count(*) FILTER (WHERE k.hour = 16), count(*) FILTER (WHERE k.hour = 17),
                     count(*) FILTER (WHERE k.hour = 18), count(*) FILTER (WHERE k.hour = 19), count(*) FILTER (WHERE k.hour = 20),
                     count(*) FILTER (WHERE k.hour = 21), count(*) FILTER (WHERE k.hour = 22), count(*) FILTER (WHERE k.hour = 23)]::int[] AS hours
        FROM kept k GROUP BY 1
    ), places AS (
        SELECT c.customer_id, jsonb_object_agg(c.channel, c.purchases) AS channels
        FROM (SELECT k.customer_id, k.channel, count(*) AS purchases FROM kept k
              WHERE k.channel IS NOT NULL GROUP BY 1, 2) c GROUP BY 1
    ), in_currency AS (
        SELECT c.customer_id, c.currency, sum(c.net) AS spend, count(*) AS days,
               count(*) FILTER (WHERE c.day > b.first_on) AS repeat_days,
               coalesce(sum(c.net) FILTER (WHERE c.day > b.first_on), 0) AS repeat_spend,
               coalesce(sum(c.amount) FILTER (WHERE c.day > b.first_on), 0) AS repeat_gross
        FROM (SELECT k.customer_id, k.currency, k.day, sum(k.net) AS net, sum(k.amount) AS amount
              FROM kept k GROUP BY 1, 2, 3) c
        JOIN bought b ON b.customer_id = c.customer_id
        GROUP BY 1, 2
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
               count(*) FILTER (WHERE t.kind = 'complaint') AS complaints, round(avg(t.mood), 4) AS mood,
               count(*) FILTER (WHERE t.severity IN ('high', 'critical')) AS severe,
               count(*) FILTER (WHERE t.breached) AS breaches
        FROM tickets t WHERE t.customer_id = ANY (ids) GROUP BY 1
    ), complained AS (
        SELECT c.customer_id, jsonb_object_agg(c.category, c.complaints) AS categories
        FROM (SELECT t.customer_id, t.category, count(*) AS complaints FROM tickets t
              WHERE t.customer_id = ANY (ids) AND t.kind = 'complaint' GROUP BY 1, 2) c GROUP BY 1
    ), answered AS (
        SELECT a.customer_id,
               (array_agg(a.score ORDER BY a.occurred_at DESC, a.id DESC) FILTER (WHERE a.kind = 'nps'))[1] AS nps,
               (array_agg(a.score ORDER BY a.occurred_at DESC, a.id DESC) FILTER (WHERE a.kind = 'csat'))[1] AS csat,
               (array_agg(a.score ORDER BY a.occurred_at DESC, a.id DESC) FILTER (WHERE a.kind = 'ces'))[1] AS ces
        FROM survey_answers a WHERE a.customer_id = ANY (ids) GROUP BY 1
    ), registered AS (
        SELECT r.customer_id, min(r.registered_at) AS at
        FROM registrations r WHERE r.customer_id = ANY (ids) GROUP BY 1
    )
    SELECT wanted.id, coalesce(b.purchases, 0)::int, coalesce(k.refunds, 0)::int, coalesce(b.days, 0)::int,
           b.first_on, b.last_on, r.currency, r.spend::bigint, r.days::int, r.repeat_days::int,
           r.repeat_spend::bigint, o.spend, coalesce(k.later, 0)::int, k.next_on,
           coalesce(t.tickets, 0)::int, coalesce(t.open_tickets, 0)::int, coalesce(t.complaints, 0)::int,
           t.mood, a.nps, a.csat, a.ces, r.repeat_gross::bigint, g.at,
           (b.last_on - b.first_on)::float8 / nullif(b.days - 1, 0),
           CASE WHEN b.days > 2 THEN sqrt(
               ((b.days - 1) * b.gap_squares - (b.last_on - b.first_on)::bigint ^ 2)::float8
               / ((b.days - 1) * (b.days - 2))) END,
           p.channels, c.hours, x.categories, coalesce(t.severe, 0)::int, coalesce(t.breaches, 0)::int, s.tier, s.points
    FROM unnest(ids) AS wanted (id)
    LEFT JOIN known k ON k.customer_id = wanted.id
    LEFT JOIN bought b ON b.customer_id = wanted.id
    LEFT JOIN clock c ON c.customer_id = wanted.id
    LEFT JOIN places p ON p.customer_id = wanted.id
    LEFT JOIN ranked r ON r.customer_id = wanted.id AND r.rank = 1
    LEFT JOIN others o ON o.customer_id = wanted.id
    LEFT JOIN asked t ON t.customer_id = wanted.id
    LEFT JOIN complained x ON x.customer_id = wanted.id
    LEFT JOIN answered a ON a.customer_id = wanted.id
    LEFT JOIN registered g ON g.customer_id = wanted.id
    LEFT JOIN loyalty_standings s ON s.customer_id = wanted.id
$$;

-- Cuts and weights of recency, frequency and money that were set; what is not set is cut by quantiles.
CREATE TABLE rfm_setup (
    only_one  boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version   int NOT NULL DEFAULT 1,
    setup     jsonb NOT NULL DEFAULT '{}'
);
INSERT INTO rfm_setup DEFAULT VALUES;

-- The weighted sum of the three scores, over the sum of the weights: from 1 to 5.
ALTER TABLE customer_scores ADD COLUMN weighted_score double precision;

-- The days on which a customer's recency, frequency and money came to score differently. It stays with the id
-- that was scored when customers are merged.
CREATE TABLE rfm_history (
    customer_id      uuid NOT NULL,
    as_of            date NOT NULL,
    recency_score    smallint,
    frequency_score  smallint,
    monetary_score   smallint,
    segment          text,
    PRIMARY KEY (customer_id, as_of)
);

-- What customers of a segment (the empty one: all buyers) come to on the average, for those of whom a model
-- says nothing. `modelled` is false where no model says it of anybody and plain rates stand for it; the value
-- is in minor units of `currency`, the one that most buy in.
CREATE TABLE typical (
    segment             text PRIMARY KEY,
    customers           int NOT NULL,
    p_alive             double precision,
    expected_purchases  double precision,
    clv                 bigint,
    currency            text,
    horizon_days        int NOT NULL,
    modelled            boolean NOT NULL,
    as_of               date NOT NULL
);

INSERT INTO walks (kind, reason)
SELECT 'rebuild', 'facts of channels, hours and gaps' WHERE EXISTS (SELECT FROM customer_facts);

-- Customers of whom something wants computing anew; see services/scoring/due.py. Append-only, so that a
-- purchase waits for nobody.
CREATE TABLE due (
    work         text NOT NULL CHECK (work IN ('value_index', 'churn', 'segments', 'actions')),
    id           bigint GENERATED ALWAYS AS IDENTITY,
    customer_id  uuid NOT NULL,
    PRIMARY KEY (work, id)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000);
INSERT INTO due (work, customer_id) SELECT 'value_index', customer_id FROM value_index_due;
DROP TABLE value_index_due;
