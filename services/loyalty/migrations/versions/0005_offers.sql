-- The coalition's partners, coupons, and the rewards that points are spent on. All of them stand beside the
-- ledger: points move only through its functions, and a row here names the transfer.

-- A partner issues points for its own units and takes points for them. Its account in the ledger is the one
-- of kind 'partner' whose owner is its id.
CREATE TABLE loyalty_partners (
    id                uuid PRIMARY KEY,
    name              text NOT NULL UNIQUE,
    callers           text[] NOT NULL DEFAULT '{}',      -- who may act as this partner: ids of gateway keys
    unit              text NOT NULL,                     -- what the partner counts in: miles, stars …
    points_per_unit   numeric(18, 6) NOT NULL CHECK (points_per_unit >= 0),  -- when it issues
    units_per_point   numeric(18, 6) NOT NULL CHECK (units_per_point >= 0),  -- when it accepts
    issued_price      numeric(18, 6) NOT NULL CHECK (issued_price >= 0),     -- minor units it pays for a point
    accepted_price    numeric(18, 6) NOT NULL CHECK (accepted_price >= 0),   -- minor units it is paid for one
    monthly_limit     bigint CHECK (monthly_limit > 0),  -- the most points that it may issue; null: no end
    active            boolean NOT NULL DEFAULT true,
    version           bigint NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT now()
);

-- What a partner has issued in a month (UTC), reversed or not: what its limit is held against.
CREATE TABLE partner_months (
    partner_id uuid NOT NULL REFERENCES loyalty_partners,
    month      date NOT NULL,
    issued     bigint NOT NULL,
    PRIMARY KEY (partner_id, month)
);

-- The partner's side of a transfer: its own units, and the rate and price of that moment. A reversal is cleared
-- at the price of what it reverses.
CREATE TABLE partner_exchanges (
    transfer_id uuid PRIMARY KEY,
    partner_id  uuid NOT NULL REFERENCES loyalty_partners,
    units       bigint NOT NULL CHECK (units >= 0),
    rate        numeric(18, 6) NOT NULL,                 -- units to a point, or points to a unit
    price       numeric(18, 6) NOT NULL                  -- of a point between us, in minor units
);

-- A partner's clearing statement. The accounts below 100 are the house's own and stay out.
CREATE INDEX entries_of_partners ON entries (account_id, id) WHERE balance IS NULL AND account_id >= 100;

-- What coupons take off, and under which terms. Amounts in minor units of `currency`.
CREATE TABLE coupon_campaigns (
    id                uuid PRIMARY KEY,
    name              text NOT NULL,
    percent           numeric(5, 2) CHECK (percent > 0 AND percent <= 100),
    amount            bigint CHECK (amount > 0),
    currency          text,                              -- null: any, for a percentage without amounts
    minimum_spend     bigint NOT NULL DEFAULT 0 CHECK (minimum_spend >= 0),
    most_off          bigint CHECK (most_off > 0),
    combinable        boolean NOT NULL DEFAULT false,    -- with other coupons on one basket
    uses_per_code     bigint CHECK (uses_per_code > 0),
    uses_per_customer bigint CHECK (uses_per_customer > 0),
    starts_at         timestamptz NOT NULL,
    ends_at           timestamptz,
    version           bigint NOT NULL DEFAULT 1,
    CHECK (num_nonnulls(percent, amount) = 1),
    CHECK (currency IS NOT NULL OR (num_nonnulls(amount, most_off) = 0 AND minimum_spend = 0))
);

-- Codes made in bulk, by a job in batches: each batch counts in the statement that writes its codes.
CREATE TABLE coupon_issues (
    id          uuid PRIMARY KEY,
    campaign_id uuid NOT NULL REFERENCES coupon_campaigns,
    wanted      bigint NOT NULL CHECK (wanted > 0),
    issued      bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK (issued BETWEEN 0 AND wanted)
);
CREATE INDEX coupon_issues_open ON coupon_issues (id) WHERE finished_at IS NULL;

-- A code. How it is used: services/loyalty/coupons/use.sql.
CREATE TABLE coupons (
    code         text PRIMARY KEY,
    campaign_id  uuid NOT NULL REFERENCES coupon_campaigns,
    issue_id     uuid,                                   -- what it was made with: a bulk issue, a redemption
    customer_id  uuid,                                   -- whose it is alone; null: whoever knows it
    used         bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
    issued_at    timestamptz NOT NULL DEFAULT now(),
    cancelled_at timestamptz
) WITH (fillfactor = 90);
CREATE INDEX coupons_of_issue ON coupons (issue_id, code) WHERE issue_id IS NOT NULL;
CREATE INDEX coupons_of_customer ON coupons (customer_id, code) WHERE customer_id IS NOT NULL;

CREATE TABLE coupon_uses (
    id          uuid PRIMARY KEY,
    code        text NOT NULL REFERENCES coupons,
    campaign_id uuid NOT NULL,
    customer_id uuid NOT NULL,
    reference   text NOT NULL,                           -- the basket, as the caller names it
    currency    text NOT NULL,
    basket      bigint NOT NULL CHECK (basket > 0),
    discount    bigint NOT NULL CHECK (discount BETWEEN 0 AND basket),
    redeemed_at timestamptz NOT NULL,
    released_at timestamptz,
    idempotency_key text NOT NULL UNIQUE,
    input_hash      bytea NOT NULL
);
CREATE INDEX coupon_uses_of_customer ON coupon_uses (customer_id, campaign_id) WHERE released_at IS NULL;

-- How often a customer or a caller was refused in an hour: all that is kept of guesses.
CREATE TABLE coupon_refusals (
    subject text NOT NULL,
    hour    timestamptz NOT NULL,
    refused bigint NOT NULL,
    PRIMARY KEY (subject, hour)
);

-- The catalogue. `taken` counts the pieces that are redeemed and not given back; how one is taken:
-- services/loyalty/rewards/take.sql.
CREATE TABLE rewards (
    id                 uuid PRIMARY KEY,
    kind               text NOT NULL,
    name               text NOT NULL,
    description        text NOT NULL DEFAULT '',
    points             bigint NOT NULL CHECK (points > 0),
    tier_points        jsonb NOT NULL DEFAULT '{}',      -- tier -> points, where a tier pays another price
    cost               bigint NOT NULL DEFAULT 0 CHECK (cost >= 0),  -- of a piece, in the programme's currency
    stock              bigint,                           -- pieces ever offered; null: no end
    taken              bigint NOT NULL DEFAULT 0,
    limit_per_customer bigint,
    starts_at          timestamptz NOT NULL,
    ends_at            timestamptz,
    partner_id         uuid REFERENCES loyalty_partners,  -- who is given the points
    campaign_id        uuid REFERENCES coupon_campaigns,  -- whose coupons a voucher is paid out in
    retired_at         timestamptz,
    version            bigint NOT NULL DEFAULT 1,
    CONSTRAINT never_more_taken_than_there_are CHECK (taken BETWEEN 0 AND coalesce(stock, taken))
) WITH (fillfactor = 80);

CREATE TABLE reward_redemptions (
    id                 uuid PRIMARY KEY,
    reward_id          uuid NOT NULL REFERENCES rewards,
    customer_id        uuid NOT NULL,
    quantity           bigint NOT NULL CHECK (quantity > 0),
    points             bigint NOT NULL CHECK (points > 0),
    transfer_id        uuid NOT NULL UNIQUE,
    redeemed_at        timestamptz NOT NULL,
    cancelled_at       timestamptz,
    cancel_reason      text,
    cancel_transfer_id uuid
);
CREATE INDEX reward_redemptions_of_customer ON reward_redemptions (customer_id, id);
-- What a customer has of a reward, and who had it since when.
CREATE INDEX reward_redemptions_of_reward ON reward_redemptions (reward_id, customer_id)
    WHERE cancelled_at IS NULL;
