-- Callers. The key itself is never stored; see gateway/edge/keys.py for why SHA-256 is enough.
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    prefix       text NOT NULL,
    key_hash     bytea NOT NULL UNIQUE,
    name         text NOT NULL,
    role         text NOT NULL,
    scopes       text[] NOT NULL,
    partner      text,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

CREATE TABLE partners (
    name        text PRIMARY KEY,
    scheme      text NOT NULL CHECK (scheme IN ('standard-webhooks')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz
);

CREATE TABLE partner_secrets (
    id         uuid PRIMARY KEY,
    partner    text NOT NULL REFERENCES partners (name),
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    retires_at timestamptz
);
CREATE INDEX partner_secrets_partner ON partner_secrets (partner);

CREATE TABLE receipts (
    id          uuid PRIMARY KEY,
    partner     text NOT NULL,
    webhook_id  text NOT NULL,
    status      text NOT NULL CHECK (status IN ('accepted', 'quarantined')),
    reason      text,
    body        bytea,
    received_at timestamptz NOT NULL DEFAULT now(),
    mended_at   timestamptz,
    UNIQUE (partner, webhook_id)
);
-- Ids begin with their time, so old receipts are found by the primary key.
CREATE INDEX receipts_quarantined ON receipts (id) WHERE status = 'quarantined';
