-- Rules that customers fit or do not. The expression is parsed and compiled each time, never evaluated as it
-- is. One that was taken away is emptied customer by customer before its row goes, so that all are told.
CREATE TABLE segments (
    id           uuid PRIMARY KEY DEFAULT uuid7(),
    name         text NOT NULL,
    description  text NOT NULL DEFAULT '',
    expression   text NOT NULL,
    version      int NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    changed_at   timestamptz NOT NULL DEFAULT now(),
    computed_at  timestamptz,
    deleted_at   timestamptz
);
CREATE UNIQUE INDEX segments_name ON segments (name) WHERE deleted_at IS NULL;

-- Who fits a rule. Gone with the customer's facts.
CREATE TABLE segment_members (
    segment_id   uuid NOT NULL REFERENCES segments ON DELETE CASCADE,
    customer_id  uuid NOT NULL REFERENCES customer_facts ON DELETE CASCADE,
    since        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (segment_id, customer_id)
);
CREATE INDEX segment_members_customer ON segment_members (customer_id) INCLUDE (segment_id);

-- The named segment of recency, frequency and money as it was last told, and the cluster of each customer
-- with its profile in words: {"en": …, "zh": …}.
CREATE TABLE customer_segments (
    customer_id  uuid PRIMARY KEY REFERENCES customer_facts ON DELETE CASCADE,
    rfm          text,
    cluster      text,
    profile      jsonb
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX customer_segments_cluster ON customer_segments (cluster);
INSERT INTO customer_segments (customer_id, rfm)
    SELECT customer_id, segment FROM customer_scores JOIN customer_facts USING (customer_id);

-- Fitted clusters: scales, centroids, labels and profiles, how the number of them was chosen, and no
-- customer's row. The newest serves. `next_label` was never used for a cluster before.
CREATE TABLE cluster_models (
    version     int PRIMARY KEY,
    model       jsonb NOT NULL,
    quality     jsonb NOT NULL,
    customers   int NOT NULL,
    next_label  int NOT NULL,
    data_hash   text NOT NULL,
    as_of       date NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- How far a walk over all customers has come: begun for each new day, rule and cluster model, done when
-- `after` is null. `version` counts what it was begun for, so that an edit is never lost to a walk.
CREATE TABLE segment_walk (
    only_one  boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version   int NOT NULL DEFAULT 1,
    as_of     date,
    after     uuid,
    began_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO segment_walk DEFAULT VALUES;

-- Triggers note whose segments are due, because whatever changes these tables, by an event, a merge or a
-- walk, may change who is in a segment.
CREATE FUNCTION note_segment_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO due (work, customer_id) SELECT DISTINCT 'segments', customer_id FROM changed;
    RETURN NULL;
END $$;

DO $$
DECLARE
    watched text;
BEGIN
    FOREACH watched IN ARRAY ARRAY['customer_facts', 'customer_scores', 'value_indexes',
                                   'churn_risks', 'told_attributes', 'told_consents'] LOOP
        EXECUTE format('CREATE TRIGGER segment_due_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS changed
                        FOR EACH STATEMENT EXECUTE FUNCTION note_segment_due()', watched);
        EXECUTE format('CREATE TRIGGER segment_due_update AFTER UPDATE ON %I REFERENCING NEW TABLE AS changed
                        FOR EACH STATEMENT EXECUTE FUNCTION note_segment_due()', watched);
    END LOOP;
END $$;
