-- What else happened, so that facts say more than days and money: the lines of purchases, where they were
-- made, how tickets went, tier and points, consents and attributes; and who became one with whom.

ALTER TABLE purchases ADD COLUMN touchpoint text, ADD COLUMN channel text;

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

ALTER TABLE tickets
    ADD COLUMN category text NOT NULL DEFAULT 'other',
    ADD COLUMN severity text NOT NULL DEFAULT 'low',
    ADD COLUMN breached boolean NOT NULL DEFAULT false;

-- A customer's chosen values, one by one: an event tells the changed ones only, and may come late.
CREATE TABLE customer_attributes (
    customer_id  uuid NOT NULL,
    name         text NOT NULL,
    value        jsonb NOT NULL,
    told_at      timestamptz NOT NULL,
    PRIMARY KEY (customer_id, name)
);

-- A customer's latest will about a purpose and channel.
CREATE TABLE consents (
    customer_id  uuid NOT NULL,
    purpose      text NOT NULL,
    channel      text NOT NULL,
    status       text NOT NULL CHECK (status IN ('granted', 'denied', 'withdrawn')),
    occurred_at  timestamptz NOT NULL,
    PRIMARY KEY (customer_id, purpose, channel)
);

-- Tier and points as loyalty last told them.
CREATE TABLE loyalty_standings (
    customer_id     uuid PRIMARY KEY,
    tier            text,
    tier_told_at    timestamptz,
    points          bigint,
    points_told_at  timestamptz
);

-- Who became one with whom. An undone merge stays, so that a merge that comes after its undoing does nothing.
CREATE TABLE merges (
    merge_id     uuid PRIMARY KEY,
    survivor_id  uuid NOT NULL,
    merged_id    uuid NOT NULL,
    undone       boolean NOT NULL
);

-- Customers who are forgotten: nothing that comes late is written down for them.
CREATE TABLE erasures (
    customer_id  uuid PRIMARY KEY,
    erasure_id   uuid NOT NULL
);
