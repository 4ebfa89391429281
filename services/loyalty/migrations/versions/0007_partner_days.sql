-- What moved on a partner's account on a day (UTC) to which nothing can come any more: transfers are never changed,
-- and a reversal belongs to the day on which it is posted. Days without exchanges have no row. A clearing statement
-- adds up these and reads only what was posted since (services/loyalty/partners/moves.sql).
CREATE TABLE partner_days (
    partner_id     uuid NOT NULL REFERENCES loyalty_partners,
    day            date NOT NULL,
    issued         bigint NOT NULL,                      -- points that moved, and what of it came back
    issued_back    bigint NOT NULL,
    issued_worth   numeric NOT NULL,                     -- of the rest, in minor units, exact
    accepted       bigint NOT NULL,
    accepted_back  bigint NOT NULL,
    accepted_worth numeric NOT NULL,
    closing        bigint NOT NULL,                      -- the account at the end of the day
    next_entry     bigint NOT NULL,                      -- every entry of a later day has this number or a higher one
    PRIMARY KEY (partner_id, day)
);
