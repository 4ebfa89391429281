-- Experiments: `design` as it was set, `size` as it was reckoned from it; both rest once it runs. `uplift` is
-- what the last uplift models of it said. It takes customers from `started_at` to `ends_at`; `begun_at` is when it
-- was let run, which is later for one that ran elsewhere.
CREATE TABLE experiments (
    id          uuid PRIMARY KEY,
    version     int NOT NULL DEFAULT 1,
    status      text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'running', 'stopped')),
    design      jsonb NOT NULL,
    size        jsonb,
    created_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    begun_at    timestamptz,
    ends_at     timestamptz,
    stopped_at  timestamptz,
    uplift      jsonb
);
CREATE INDEX experiments_ending ON experiments (ends_at) WHERE status = 'running';

-- Who was first exposed to which arm, and when. As in the tables of what happened, `customer_id` is who they
-- are now and `told_of` who was exposed, where that is somebody else who was merged: so a merge may leave one
-- customer in two arms, and its undoing gives each their own again.
CREATE TABLE exposures (
    experiment_id  uuid NOT NULL REFERENCES experiments ON DELETE CASCADE,
    customer_id    uuid NOT NULL,
    told_of        uuid,
    arm            smallint NOT NULL,
    exposed_at     timestamptz NOT NULL
);
CREATE UNIQUE INDEX exposures_told ON exposures (experiment_id, coalesce(told_of, customer_id));
CREATE INDEX exposures_customer ON exposures (customer_id, experiment_id);

-- What a finished experiment measured of an action, in the metric's unit, with its always-valid interval.
CREATE TABLE measured_uplifts (
    action         text NOT NULL,
    metric         text NOT NULL,
    experiment_id  uuid NOT NULL REFERENCES experiments ON DELETE CASCADE,
    uplift         double precision NOT NULL,
    low            double precision NOT NULL,
    high           double precision NOT NULL,
    customers      int NOT NULL,
    measured_at    timestamptz NOT NULL,
    PRIMARY KEY (action, metric, experiment_id)
);

-- Effects are told from before and after, so when a friend came and when a ticket was opened must be known.
ALTER TABLE referrals ADD COLUMN occurred_at timestamptz;
ALTER TABLE tickets ADD COLUMN opened_at timestamptz;
UPDATE tickets SET opened_at = told_at;
