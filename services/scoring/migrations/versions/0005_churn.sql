-- Classifiers of who leaves, learnt from a label: columns, weights or trees as plain numbers, and no
-- customer's row. At most one serves; where none does, the model of purchases gives the risk. `label` is the
-- attribute, `positive` its value that says who left (null: yes); from `threshold` on contacting pays.
CREATE TABLE churn_models (
    id          uuid PRIMARY KEY DEFAULT uuid7(),
    version     int NOT NULL UNIQUE,
    kind        text NOT NULL CHECK (kind IN ('logistic', 'boosting')),
    label       text NOT NULL,
    positive    text,
    classifier  jsonb NOT NULL,
    threshold   double precision,
    report      jsonb NOT NULL,
    customers   int NOT NULL,
    data_hash   text NOT NULL,
    as_of       date NOT NULL,
    promotion   text NOT NULL,
    serving     boolean NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX churn_models_serving ON churn_models (serving) WHERE serving;

-- The risk of each customer of whom it is known. `above` is set from `threshold` on, and unset only well
-- below it, so that who goes up and down around the line is told about once. Gone with the customer's facts.
CREATE TABLE churn_risks (
    customer_id   uuid PRIMARY KEY REFERENCES customer_facts ON DELETE CASCADE,
    risk          double precision NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('contractual', 'non_contractual')),
    horizon_days  int,
    threshold     double precision,
    above         boolean NOT NULL,
    model         text NOT NULL,
    reasons       text[] NOT NULL,
    as_of         date NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX churn_risks_highest ON churn_risks (risk DESC, customer_id);

-- How far a pass over all customers has come: it began at `pass_at` and is done when `after` is null. One
-- begins when all were scored anew, or when `basis`, the model and settings that risks stand on, changed.
CREATE TABLE churn_pass (
    only_one  boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    basis     text NOT NULL DEFAULT '',
    after     uuid,
    pass_at   timestamptz NOT NULL DEFAULT 'epoch'
);
INSERT INTO churn_pass DEFAULT VALUES;
