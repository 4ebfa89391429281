-- The golden record. Everything known of the customer is in the tables below; `version` counts the changes
-- of what GET /v1/customers/{id} shows and is its entity tag.
CREATE TABLE customers (
    id         uuid PRIMARY KEY,
    version    bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- What a customer is recognised by, normalised. The primary key is what makes two concurrent requests for
-- the same new address one customer. The reference is checked at commit: an identity is claimed first, and
-- only the winner of the claim writes its customer.
CREATE TABLE identities (
    kind        text NOT NULL CHECK (kind IN ('email', 'phone', 'external_id')),
    source      text COLLATE "C" NOT NULL CHECK ((kind = 'external_id') = (source <> '')),
    value       text COLLATE "C" NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers DEFERRABLE INITIALLY DEFERRED,
    verified    boolean NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, source, value)
);
CREATE INDEX identities_customer ON identities (customer_id);

-- Every value that some source gave. `rank` is the order of the survivorship rule: 0 is the value that is
-- shown, the others lost and stay readable. Written whole, per customer and name, under the customer's lock.
CREATE TABLE attribute_values (
    customer_id uuid NOT NULL REFERENCES customers DEFERRABLE INITIALLY DEFERRED,
    name        text COLLATE "C" NOT NULL,
    rank        smallint NOT NULL CHECK (rank >= 0),
    value       jsonb NOT NULL,
    source      text NOT NULL,
    trust       smallint NOT NULL,
    observed_at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, name, rank)
);

-- What the search compares with: names from each word on, and identities; folded by customers/rules.py.
CREATE TABLE search_keys (
    key         text COLLATE "C" NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (key, customer_id)
);
CREATE INDEX search_keys_customer ON search_keys (customer_id, key);

-- Append-only: each row is one expression of will with its evidence; the latest one stands.
CREATE TABLE consents (
    id          uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers,
    purpose     text COLLATE "C" NOT NULL,
    channel     text COLLATE "C" NOT NULL,
    status      text NOT NULL CHECK (status IN ('granted', 'denied', 'withdrawn')),
    evidence    jsonb NOT NULL,
    source      text NOT NULL,
    occurred_at timestamptz NOT NULL,
    expires_at  timestamptz,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX consents_latest ON consents (customer_id, purpose, channel, occurred_at DESC, id DESC);

CREATE TABLE activities (
    id          uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers,
    source      text COLLATE "C" NOT NULL,
    source_id   text COLLATE "C",
    kind        text NOT NULL,
    touchpoint  text,
    channel     text,
    stage       text,
    details     jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    UNIQUE (source, source_id)
);
CREATE INDEX activities_customer ON activities (customer_id, occurred_at DESC, id DESC);

-- Amounts in minor units. The check is the last word on refunds: never more than was paid.
CREATE TABLE purchases (
    id          uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers,
    source      text COLLATE "C" NOT NULL,
    source_id   text COLLATE "C" NOT NULL,
    currency    text NOT NULL,
    amount      bigint NOT NULL CHECK (amount >= 0),
    refunded    bigint NOT NULL DEFAULT 0,
    lines       jsonb NOT NULL,
    touchpoint  text,
    channel     text,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    UNIQUE (source, source_id),
    CONSTRAINT refunded_within_paid CHECK (refunded BETWEEN 0 AND amount)
);
CREATE INDEX purchases_customer ON purchases (customer_id, occurred_at DESC, id DESC);

CREATE TABLE refunds (
    id          uuid PRIMARY KEY,
    purchase_id uuid NOT NULL REFERENCES purchases,
    source      text COLLATE "C" NOT NULL,
    source_id   text COLLATE "C",
    amount      bigint NOT NULL CHECK (amount > 0),
    reason      text,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    UNIQUE (source, source_id)
);
CREATE INDEX refunds_purchase ON refunds (purchase_id);

-- Sums kept with each purchase and refund, so that a customer with a million purchases reads as fast as one
-- with three.
CREATE TABLE purchase_totals (
    customer_id uuid NOT NULL REFERENCES customers,
    currency    text COLLATE "C" NOT NULL,
    purchases   bigint NOT NULL,
    amount      bigint NOT NULL,
    refunded    bigint NOT NULL DEFAULT 0,
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    PRIMARY KEY (customer_id, currency)
) WITH (fillfactor = 85);

-- What GET /v1/customers/{id} answers, ready as JSON text.
CREATE VIEW customer_documents AS
SELECT c.id, c.version, json_build_object(
    'id', c.id,
    'name', (SELECT v.value FROM attribute_values AS v
             WHERE v.customer_id = c.id AND v.name = 'name' AND v.rank = 0),
    'identities', coalesce((
        SELECT json_agg(json_build_object('kind', i.kind, 'source', nullif(i.source, ''), 'value', i.value,
                                          'verified', i.verified) ORDER BY i.kind, i.source, i.value)
        FROM identities AS i WHERE i.customer_id = c.id), '[]'),
    'attributes', coalesce((
        SELECT json_object_agg(v.name, v.value ORDER BY v.name) FROM attribute_values AS v
        WHERE v.customer_id = c.id AND v.rank = 0 AND v.name <> 'name' AND v.value <> 'null'), '{}'),
    'version', c.version,
    'created_at', c.created_at,
    'updated_at', c.updated_at)::text AS document
FROM customers AS c;

-- The same for purchases and activities.
CREATE VIEW purchase_documents AS
SELECT p.id, p.customer_id, p.occurred_at, json_build_object(
    'id', p.id, 'customer_id', p.customer_id, 'source', p.source, 'source_id', p.source_id,
    'currency', p.currency, 'amount', p.amount, 'refunded', p.refunded, 'lines', p.lines,
    'touchpoint', p.touchpoint, 'channel', p.channel,
    'occurred_at', p.occurred_at, 'recorded_at', p.recorded_at)::text AS document
FROM purchases AS p;

CREATE VIEW activity_documents AS
SELECT a.id, a.customer_id, a.occurred_at, json_build_object(
    'id', a.id, 'customer_id', a.customer_id, 'source', a.source, 'source_id', a.source_id, 'kind', a.kind,
    'touchpoint', a.touchpoint, 'channel', a.channel, 'stage', a.stage, 'details', a.details,
    'occurred_at', a.occurred_at, 'recorded_at', a.recorded_at)::text AS document
FROM activities AS a;
