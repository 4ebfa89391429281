-- How points are earned: rules, what members did and what each deed earned, the tiers and where members stand.

-- Every version of every earning rule. The newest is in effect; an older one counts for what was done before
-- the next was made, so that a late purchase earns what it would have earned in its time.
CREATE TABLE earning_rules (
    id         text NOT NULL,
    version    int NOT NULL,
    definition jsonb NOT NULL,            -- services/loyalty/earning/rule_schemas.py
    made_at    timestamptz NOT NULL,
    made_by    text NOT NULL,
    PRIMARY KEY (id, version)
);
INSERT INTO earning_rules (id, version, definition, made_at, made_by)
SELECT id, 1, definition::jsonb, '0001-01-01 00:00:00+00', 'defaults' FROM (VALUES
    ('purchase', '{"name": "A point for each unit of money", "kind": "purchase", "rate": "1"}'),
    ('sign-up', '{"name": "Welcome", "kind": "sign-up", "points": 500, "points_days": 365}'),
    ('activity', '{"name": "Activities", "kind": "activity", "points": 10, "daily_limit": 50, "monthly_limit": 500}'),
    ('feedback', '{"name": "Useful feedback", "kind": "feedback", "points": 50, "monthly_limit": 200,
                   "subjects": ["complaint", "suggestion", "idea", "review"]}'),
    ('survey', '{"name": "Survey answered", "kind": "survey", "points": 20, "monthly_limit": 60}'),
    ('birthday', '{"name": "Birthday", "kind": "birthday", "points": 100, "points_days": 90}'),
    ('referral', '{"name": "A tenth of a friend''s first purchase", "kind": "referral", "rate": "0.1",
                   "monthly_limit": 10000}'),
    ('welcome', '{"name": "Welcome of a friend", "kind": "welcome", "points": 200}')
) AS defaults (id, definition);

-- What members did that may earn, and what it earned. Points are counted in the order of occurred_at, whatever
-- the order in which deeds are heard of; `awards` is the outcome of the last count: for each rule
-- {rule, version, points, claimed, grants}. The transfers of an award are named by kind, id, rule and number
-- (services/loyalty/earning/store.py, transfer_key).
CREATE TYPE deed_kind AS ENUM (
    'purchase', 'sign-up', 'activity', 'survey', 'feedback', 'referral', 'welcome', 'birthday');
CREATE TABLE deeds (
    id          uuid NOT NULL,            -- the purchase's, activity's, answer's, ticket's, referral's, customer's
    kind        deed_kind NOT NULL,
    customer_id uuid NOT NULL,            -- whose it is now,
    told_of     uuid,                     -- and whose it was told to be, when customers were merged since
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    reason      text NOT NULL,
    event_id    uuid,
    amount      bigint NOT NULL DEFAULT 0,  -- minor units
    currency    text NOT NULL DEFAULT '',
    parts       jsonb,                    -- the purchase's lines: [amount, category, sku]
    subject     text,
    channel     text,
    tier        text,                     -- in which a purchase was made
    qualifying  bigint NOT NULL DEFAULT 0,  -- towards the tiers, before refunds
    points      bigint NOT NULL DEFAULT 0,  -- all awards, before refunds
    claimed     bigint NOT NULL DEFAULT 0,  -- given by an earlier count and too much by the last
    awards      jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (id, kind)
);
CREATE INDEX deeds_of_member ON deeds (customer_id, kind, occurred_at, id);
CREATE INDEX deeds_claimed ON deeds (customer_id) WHERE claimed > 0;
CREATE INDEX deeds_in_time ON deeds USING brin (occurred_at);

-- Purchases and sign-ups that earned before there were rules. Their amounts are in the arithmetic they show.
INSERT INTO deeds (id, kind, customer_id, occurred_at, recorded_at, reason, event_id, amount, currency,
                   qualifying, points, awards)
SELECT split_part(t.idempotency_key, '/', 2)::uuid, split_part(t.idempotency_key, '/', 1)::deed_kind, a.owner,
       t.occurred_at, t.posted_at, t.reason, t.event_id, coalesce(paid.amount, 0), coalesce(paid.currency, ''),
       coalesce(paid.amount, 0), t.points,
       jsonb_build_array(jsonb_build_object('rule', t.rule, 'version', 1, 'points', t.points, 'claimed', 0,
                                            'grants', 1))
  FROM transfers AS t
  JOIN entries AS e ON e.transfer_id = t.id
  JOIN accounts AS a ON a.id = e.account_id AND a.kind = 'member'
  LEFT JOIN LATERAL (
      SELECT replace(said[1], '.', '')::bigint AS amount, said[2] AS currency
        FROM regexp_match(t.arithmetic, '^floor\((\d+\.?\d*) ([A-Z]{3}) ×') AS said) AS paid ON true
 WHERE t.reverses IS NULL AND t.idempotency_key ~ '^(purchase|sign-up)/[0-9a-f-]{36}$';

-- The days on which members are given something; no year.
CREATE TABLE birthdays (
    customer_id uuid PRIMARY KEY,
    month       smallint NOT NULL,
    day         smallint NOT NULL
);
CREATE INDEX birthdays_in_year ON birthdays (month, day, customer_id);

-- Every version of the tiers; `newcomer` is what is shown of a member who has bought nothing.
CREATE TABLE tier_tables (
    version  int PRIMARY KEY,
    since    timestamptz NOT NULL,
    tiers    jsonb NOT NULL,
    made_by  text NOT NULL,
    newcomer jsonb NOT NULL
);
INSERT INTO tier_tables (version, since, made_by, tiers, newcomer) VALUES
    (1, '0001-01-01 00:00:00+00', 'defaults', '[
    {"name": "regular", "threshold": 0, "multiplier": "1", "benefits": {}},
    {"name": "silver", "threshold": 500000, "multiplier": "1.25", "benefits": {"discount_percent": "2", "birthday_gift": "card"}},
    {"name": "gold", "threshold": 2000000, "multiplier": "1.5", "benefits": {"discount_percent": "5", "birthday_gift": "small", "priority_service": true}},
    {"name": "platinum", "threshold": 5000000, "multiplier": "2", "benefits": {"discount_percent": "10", "birthday_gift": "large", "priority_service": true, "support_line": "platinum"}}]',
    '{"name": "regular", "since": null, "multiplier": "1", "benefits": {}, "qualifying": 0,
      "next": {"name": "silver", "missing": 500000}, "falls_at": null, "projected": "regular"}');

-- Where a member stands as of the last purchase that was counted (clock, last_id, tier, since, due_at, the days
-- that qualify and their total, what earning has counted), and what was shown of it last.
CREATE TABLE standings (
    customer_id   uuid PRIMARY KEY,
    clock         timestamptz NOT NULL,
    last_id       uuid NOT NULL,
    tier          text NOT NULL,
    since         timestamptz,
    due_at        timestamptz,
    quantities    jsonb NOT NULL,
    total         bigint NOT NULL,
    counted       jsonb NOT NULL,
    tier_now      text NOT NULL,
    shown         jsonb NOT NULL,
    review_at     timestamptz,
    tiers_version int NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX standings_review ON standings (review_at) WHERE review_at IS NOT NULL;
CREATE INDEX standings_version ON standings (tiers_version, customer_id);

-- How members got to their tiers, as the last count has it.
CREATE TABLE tier_changes (
    customer_id uuid NOT NULL,
    at          timestamptz NOT NULL,
    place       int NOT NULL,             -- among those of one moment
    from_tier   text NOT NULL,
    to_tier     text NOT NULL,
    qualifying  bigint NOT NULL,
    PRIMARY KEY (customer_id, at, place)
);

-- Who brings friends. Devices are kept as hashes, only to tell that two are the same.
CREATE TABLE referral_codes (
    code        text PRIMARY KEY,
    customer_id uuid NOT NULL UNIQUE,
    device      bytea,
    made_at     timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE referrals (
    id           uuid PRIMARY KEY DEFAULT uuid7(),
    code         text NOT NULL REFERENCES referral_codes,
    referrer_id  uuid NOT NULL,
    referee_id   uuid NOT NULL UNIQUE,    -- is brought once
    device       bytea,
    joined_at    timestamptz NOT NULL,
    status       text NOT NULL DEFAULT 'joined' CHECK (status IN ('joined', 'completed', 'void')),
    reason       text,                    -- why it is void
    purchase_id  uuid,
    completed_at timestamptz,
    points       bigint                   -- what the referrer got
);
CREATE INDEX referrals_of ON referrals (referrer_id, id);
CREATE INDEX referrals_open ON referrals (joined_at, id) WHERE status = 'joined';
CREATE INDEX referrals_device ON referrals (device) WHERE device IS NOT NULL;
CREATE INDEX referral_codes_device ON referral_codes (device) WHERE device IS NOT NULL;

-- Tasks over what members do, how far each member is in each window, and the badges that came of it.
CREATE TABLE challenges (
    id         text PRIMARY KEY,
    version    int NOT NULL DEFAULT 1,
    definition jsonb NOT NULL,            -- services/loyalty/challenges/schemas.py
    made_at    timestamptz NOT NULL
);
CREATE TABLE challenge_progress (
    customer_id  uuid NOT NULL,
    challenge_id text NOT NULL REFERENCES challenges,
    starts_at    timestamptz NOT NULL,    -- of the window: a week, month or year, or once
    done         bigint NOT NULL,
    met_at       timestamptz,             -- when the last that was needed was done; stays once it is set
    PRIMARY KEY (customer_id, challenge_id, starts_at)
);
CREATE TABLE badges (
    customer_id  uuid NOT NULL,
    challenge_id text NOT NULL REFERENCES challenges,
    starts_at    timestamptz NOT NULL,    -- of the window that completed it
    badge        text NOT NULL,
    awarded_at   timestamptz NOT NULL,
    PRIMARY KEY (customer_id, challenge_id, starts_at)
);
CREATE INDEX badges_in_time ON badges (awarded_at);

-- Leaderboards as of their last refresh. A rank is one more than the members who stand higher; these are counted
-- for each score, so that a member's rank is two look-ups however many members there are.
CREATE TABLE board_scores (
    board       text NOT NULL,
    period      text NOT NULL,            -- 2026-11, or 2026
    customer_id uuid NOT NULL,
    segment     text NOT NULL,            -- the member's tier
    score       bigint NOT NULL,
    PRIMARY KEY (board, period, customer_id)
) WITH (fillfactor = 80);
CREATE INDEX board_scores_top ON board_scores (board, period, score DESC, customer_id);
CREATE INDEX board_scores_top_of_segment ON board_scores (board, period, segment, score DESC, customer_id);
CREATE TABLE board_steps (
    board   text NOT NULL,
    period  text NOT NULL,
    segment text NOT NULL,                -- '' for all
    score   bigint NOT NULL,
    above   bigint NOT NULL,
    PRIMARY KEY (board, period, segment, score)
);
CREATE TABLE board_runs (
    board   text NOT NULL,
    period  text NOT NULL,
    as_of   timestamptz NOT NULL,
    members bigint NOT NULL,
    PRIMARY KEY (board, period)
);
CREATE TABLE board_opt_outs (
    customer_id uuid PRIMARY KEY
);
