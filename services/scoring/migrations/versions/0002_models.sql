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

-- What was bought up to a day and not given back in full by then: per purchase, what was left of it. The
-- same rules as those of derived_facts, for windows that facts are not kept of.
CREATE FUNCTION kept_purchases(observed date)
RETURNS TABLE (customer_id uuid, currency text, day date, net bigint) LANGUAGE sql STABLE AS $$
    SELECT p.customer_id, p.currency, (p.occurred_at AT TIME ZONE 'UTC')::date,
           (p.amount - coalesce(g.amount, 0))::bigint
    FROM purchases p LEFT JOIN (
        SELECT r.purchase_id, sum(r.amount) AS amount FROM refunds r
        WHERE (r.occurred_at AT TIME ZONE 'UTC')::date <= observed GROUP BY 1
    ) g ON g.purchase_id = p.id
    WHERE (p.occurred_at AT TIME ZONE 'UTC')::date <= observed
      AND (g.amount IS NULL OR g.amount < p.amount)
$$;
