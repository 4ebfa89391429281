-- Friends brought to the shop, as loyalty tells it.
CREATE TABLE referrals (
    id           uuid PRIMARY KEY,
    customer_id  uuid NOT NULL
);
CREATE INDEX referrals_customer ON referrals (customer_id);

-- How the value index is made: the judgements and costs that were set, and the scales over all customers.
-- A pass over all customers has come to `after`; it began at `pass_at`, and is done when `after` is null.
CREATE TABLE value_index_setup (
    only_one  boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version   int NOT NULL DEFAULT 1,
    setup     jsonb NOT NULL DEFAULT '{}',
    scales    jsonb NOT NULL DEFAULT '{}',
    after     uuid,
    pass_at   timestamptz NOT NULL DEFAULT 'epoch'
);
INSERT INTO value_index_setup DEFAULT VALUES;

-- `parts` are scores from 0 to 1 by measure; `moved` is the part that changed the index most when it last
-- changed, and by how much. Gone with the customer's facts.
CREATE TABLE value_indexes (
    customer_id  uuid PRIMARY KEY REFERENCES customer_facts ON DELETE CASCADE,
    value        double precision NOT NULL,
    grade        text NOT NULL CHECK (grade IN ('high', 'middle', 'low')),
    parts        jsonb NOT NULL,
    moved        text,
    moved_by     double precision
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX value_indexes_grade ON value_indexes (grade, customer_id);

-- Customers whose index wants computing again. Append-only, so that a purchase waits for nobody.
CREATE TABLE value_index_due (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id  uuid NOT NULL
);
