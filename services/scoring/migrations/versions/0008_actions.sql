-- What to do next for whom, and plans for a budget. Money in minor units.

-- How actions are chosen: what was edited of the catalogue (the rest is as in rules.py), and the uplift that
-- experiments measured: {"call": {"uplift": 0.08, "experiment": "…"}}. A pass over all customers has come to
-- `after`; it began at `pass_at`, and is done when `after` is null.
CREATE TABLE action_setup (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version    int NOT NULL DEFAULT 1,
    catalogue  jsonb NOT NULL DEFAULT '{}',
    measured   jsonb NOT NULL DEFAULT '{}',
    after      uuid,
    pass_at    timestamptz NOT NULL DEFAULT 'epoch'
);
INSERT INTO action_setup DEFAULT VALUES;

-- The best actions of a customer, the best first; no row when nothing is worth doing.
CREATE TABLE next_actions (
    customer_id  uuid PRIMARY KEY REFERENCES customer_facts ON DELETE CASCADE,
    actions      jsonb NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- What was recommended for a customer or done without that, and what became of it. A recommendation stands
-- until it is answered, expires, or another one replaces it: one at a time.
CREATE TABLE action_contacts (
    id           uuid PRIMARY KEY DEFAULT uuid7(),
    customer_id  uuid NOT NULL REFERENCES customer_facts ON DELETE CASCADE,
    action       text NOT NULL,
    channel      text NOT NULL,
    status       text NOT NULL CHECK (status IN ('recommended', 'accepted', 'declined', 'replaced')),
    gain         bigint,
    at           timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    answered_at  timestamptz
);
CREATE INDEX action_contacts_customer ON action_contacts (customer_id, at);
CREATE INDEX action_contacts_recommended ON action_contacts (at) WHERE expires_at IS NOT NULL;
CREATE UNIQUE INDEX action_contacts_standing ON action_contacts (customer_id) WHERE status = 'recommended';

-- Contacts of who was merged are the survivor's: merging lets nobody be contacted more often. They stay there
-- when the merge is undone. Those of who is forgotten go with the facts.
CREATE FUNCTION hand_over_contacts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE action_contacts c
    SET customer_id = o.owner, status = CASE c.status WHEN 'recommended' THEN 'replaced' ELSE c.status END
    FROM owners o JOIN customer_facts f ON f.customer_id = o.owner
    WHERE c.customer_id = OLD.customer_id AND o.customer_id = OLD.customer_id;
    RETURN OLD;
END $$;
CREATE TRIGGER hand_over_contacts BEFORE DELETE ON customer_facts
FOR EACH ROW EXECUTE FUNCTION hand_over_contacts();

-- Plans for a budget: `request` as it was asked, `outcome` once it is done, `failure` when it is not.
CREATE TABLE budget_plans (
    id           uuid PRIMARY KEY DEFAULT uuid7(),
    status       text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'done', 'failed', 'cancelled')),
    request      jsonb NOT NULL,
    progress     text NOT NULL DEFAULT 'waiting',
    attempts     int NOT NULL DEFAULT 0,
    outcome      jsonb,
    failure      text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
);
CREATE INDEX budget_plans_running ON budget_plans (id) WHERE status = 'running';

-- Who could get something by a plan: their arm, and the action of those whom the budget reaches.
CREATE TABLE budget_assignments (
    plan_id      uuid NOT NULL REFERENCES budget_plans ON DELETE CASCADE,
    customer_id  uuid NOT NULL REFERENCES customer_facts ON DELETE CASCADE,
    arm          text NOT NULL CHECK (arm IN ('treated', 'hold_out')),
    action       text,
    gain         double precision NOT NULL,
    cost         bigint NOT NULL,
    PRIMARY KEY (plan_id, customer_id)
);
CREATE INDEX budget_assignments_customer ON budget_assignments (customer_id);
