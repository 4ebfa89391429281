-- What every service's database carries: outbox, inbox, dead letters, section marks, idempotency keys.
-- Installed by the first migration of each service (shared/migrations.py). Never edited after a release:
-- a change comes as a file of its own.

-- RFC 9562 UUID version 7: 48 bits of Unix milliseconds, then random bits.
CREATE FUNCTION uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- The smallest version 7 id of a moment: the bounds of the inbox's partitions.
CREATE FUNCTION uuid7_floor(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid
$$;

-- Events that are decided but not yet with the broker. A row leaves once the broker has confirmed it.
CREATE TABLE outbox (
    id           uuid PRIMARY KEY,
    type         text NOT NULL,
    envelope     text NOT NULL,
    available_at timestamptz NOT NULL DEFAULT now(),
    created_at   timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000);

-- Emit an event from SQL: the same envelope as shared/contracts/envelope.py writes.
CREATE FUNCTION outbox_emit(
    event_type text, subject uuid, data jsonb, traceparent text DEFAULT NULL, schema_version int DEFAULT 1,
    producer text DEFAULT current_setting('c360.service', true)
) RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$  -- plpgsql keeps its plans between calls, sql does not
DECLARE
    event_id uuid := uuid7();
BEGIN
    -- Written as text: nothing here but the data needs escaping, and building it as jsonb takes twice as long.
    INSERT INTO outbox (id, type, envelope) VALUES (event_id, event_type,
        '{"specversion":"1.0","id":"' || event_id
        || '","source":"/' || coalesce(producer, 'unknown') || '","type":"' || event_type
        || '","time":"' || to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","datacontenttype":"application/json","dataschema":"/schemas/' || event_type || '.v' || schema_version
        || '.json"' || coalesce(',"subject":"' || subject || '"', '')
        || coalesce(',"traceparent":"' || coalesce(
               traceparent, nullif(current_setting('c360.traceparent', true), '')) || '"', '')
        || ',"data":' || data || '}');
    RETURN event_id;
END $$;

-- Which events a consumer has dealt with. Partitioned by the event's id, which begins with its time, so
-- that ids older than the retention leave as whole partitions.
CREATE TABLE inbox (
    event_id    uuid NOT NULL,
    consumer    text NOT NULL,
    PRIMARY KEY (event_id, consumer)
) PARTITION BY RANGE (event_id);
CREATE TABLE inbox_other PARTITION OF inbox DEFAULT;

-- Events whose reaction raised: waiting for their next try, or given up.
CREATE TABLE dead_letters (
    id              uuid PRIMARY KEY DEFAULT uuid7(),
    consumer        text NOT NULL,
    event_id        uuid NOT NULL,
    type            text NOT NULL,
    envelope        text NOT NULL,
    status          text NOT NULL CHECK (status IN ('retrying', 'dead')),
    attempts        int NOT NULL,
    error           text NOT NULL,
    traceback       text NOT NULL,
    next_attempt_at timestamptz,
    failed_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (consumer, event_id)
);
CREATE INDEX dead_letters_due ON dead_letters (next_attempt_at) WHERE status = 'retrying';

-- Customers whose section changed since the last snapshot. Append-only, so that writers never wait for
-- one another; the relay folds many marks of one customer into one snapshot.
CREATE TABLE section_marks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id uuid NOT NULL
);
ALTER TABLE section_marks SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 2000);
CREATE SEQUENCE section_version;

-- First answers of requests that carried an Idempotency-Key.
CREATE TABLE idempotency_keys (
    scope        text NOT NULL,
    key          text NOT NULL,
    input_hash   bytea NOT NULL,
    status       int NOT NULL,
    headers      jsonb NOT NULL,
    body         bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- When each background job last ran, so that replicas share one clock.
CREATE TABLE jobs (
    name        text PRIMARY KEY,
    last_run_at timestamptz,
    next_run_at timestamptz NOT NULL DEFAULT now(),
    last_error  text
);
