-- Points that wait (pending), points that are held, points that expire; merged customers; sealed history.

ALTER TYPE transfer_kind ADD VALUE 'expiry';
ALTER TYPE transfer_kind ADD VALUE 'promotion';  -- pending points become available
ALTER TYPE transfer_kind ADD VALUE 'hold';
ALTER TYPE transfer_kind ADD VALUE 'release';
ALTER TYPE transfer_kind ADD VALUE 'merge';

-- A member account stands for its customer: its row is the lock on all accounts of the customer, and it keeps
-- the lifetime totals, also of what went through the pending and hold accounts.
ALTER TABLE accounts ADD COLUMN merged_into uuid;  -- who has this customer's points now
CREATE INDEX accounts_merged ON accounts (merged_into) WHERE merged_into IS NOT NULL;
-- A refund that came while two customers were one may leave one of them below zero after the undo.
ALTER TABLE accounts DROP CONSTRAINT totals_are_never_negative;
ALTER TABLE accounts ADD CONSTRAINT owed_is_never_negative CHECK (owed >= 0);

-- Where a lot comes from, and what it waits for. Lots keep these for ever; only `remaining` changes, and with it
-- `open`, which is what the indexes look at: taking a part of a lot changes no index.
ALTER TABLE lots
    ADD COLUMN origin        uuid,         -- the earning that brought the points, when another transfer moved them
    ADD COLUMN pending_until timestamptz,  -- in a pending account: when the points become available
    ADD COLUMN hold          uuid,         -- in a hold account: which hold
    ADD COLUMN open          boolean GENERATED ALWAYS AS (remaining > 0) STORED;
DROP INDEX lots_open;
CREATE INDEX lots_open ON lots (account_id, expires_at, id) WHERE open;
CREATE INDEX lots_expiring ON lots (expires_at, id) WHERE open AND hold IS NULL AND expires_at < 'infinity';
CREATE INDEX lots_pending ON lots (pending_until, id) WHERE open AND pending_until IS NOT NULL;
CREATE INDEX lots_of_transfer ON lots (transfer_id);
CREATE TRIGGER only_remaining_changes
    BEFORE UPDATE OF id, account_id, transfer_id, points, earned_at, expires_at, cost_per_point, origin,
                     pending_until, hold ON lots
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Points set aside for a while: the id is that of the transfer which moved them into the hold account.
CREATE TABLE holds (
    id         uuid PRIMARY KEY REFERENCES transfers,
    points     bigint NOT NULL CHECK (points > 0),
    expires_at timestamptz NOT NULL,
    captured   bigint,                    -- how many were spent when it was closed; the others went back
    closed_at  timestamptz,
    CONSTRAINT captured_of_what_was_held CHECK (captured BETWEEN 0 AND points),
    CONSTRAINT closed_says_how_many CHECK ((closed_at IS NULL) = (captured IS NULL))
);
CREATE INDEX holds_due ON holds (expires_at) WHERE closed_at IS NULL;

-- Which member was told of points that expire on which day.
CREATE TABLE expiry_notices (
    account_id bigint NOT NULL,
    day        date NOT NULL,             -- UTC
    told_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, day)
);

-- Points of an earning that refunds have due and that the refund policy leaves with the member.
CREATE TABLE waivers (
    transfer_id uuid PRIMARY KEY REFERENCES transfers,
    points      bigint NOT NULL CHECK (points > 0)
);

-- Customers that profile found to be one, and what moved with them. An undo that comes first leaves a row too.
CREATE TABLE merges (
    id        uuid PRIMARY KEY,
    survivor  uuid NOT NULL,
    merged    uuid NOT NULL,
    earned    bigint NOT NULL DEFAULT 0,  -- lifetime totals of the merged one that stand at the survivor
    spent     bigint NOT NULL DEFAULT 0,
    owed      bigint NOT NULL DEFAULT 0,
    merged_at timestamptz NOT NULL DEFAULT now(),
    undone_at timestamptz
);
CREATE UNIQUE INDEX merges_once ON merges (merged) WHERE undone_at IS NULL;

-- The sealed history: each hash covers a transfer with its entries, lots and uses, and the hash before it.
CREATE TABLE seals (
    position    bigint PRIMARY KEY,
    transfer_id uuid NOT NULL UNIQUE,
    hash        bytea NOT NULL
);
CREATE INDEX transfers_sealing ON transfers (posted_in, id);

CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON holds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON merges
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The functions whose parameters changed; their files make them anew.
DROP FUNCTION IF EXISTS post_transfer(transfer_kind, account_kind, uuid, account_kind, uuid, bigint, text, text,
    timestamptz, text, bytea, text, text, uuid, timestamptz, numeric, uuid, boolean, text);
DROP FUNCTION lock_members(uuid[]);
DROP FUNCTION IF EXISTS post_earnings(jsonb, text, numeric, text);
