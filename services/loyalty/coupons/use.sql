-- Using a coupon on a basket, in one round trip. Whether it holds, and what it takes off, was judged a moment
-- before (services/loyalty/coupons/rules.py); here it is made sure that this still holds.
--
-- Locks: the customer (by an advisory lock, as a campaign's limit counts over many codes), then the code. Whoever
-- releases a use locks the use, then the code.
--
-- This file may be run again: a revision that changes the function does so.

-- Returns used; or changed (the terms or the uses are not as they were judged, or the key is taken: look again).
-- Nothing has changed then.
CREATE OR REPLACE FUNCTION use_coupon(
    p_use             uuid,
    p_code            text,
    p_version         bigint,       -- of the campaign that was judged
    p_customer        uuid,
    p_reference       text,         -- the basket
    p_others          text[],       -- the codes that were on it when it was judged, sorted
    p_currency        text,
    p_basket          bigint,
    p_discount        bigint,
    p_now             timestamptz,
    p_idempotency_key text,
    p_input_hash      bytea
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    who      uuid;
    everyone uuid[];                -- who is one with the customer
    coupon   coupons;
    campaign coupon_campaigns;
BEGIN
    SELECT one.survivor, array(SELECT family(one.survivor)) INTO who, everyone FROM survivors(ARRAY[p_customer]) AS one;
    PERFORM pg_advisory_xact_lock(hashtextextended('coupons of ' || who, 360));
    SELECT * INTO coupon FROM coupons WHERE code = p_code FOR NO KEY UPDATE;
    SELECT * INTO campaign FROM coupon_campaigns WHERE id = coupon.campaign_id AND version = p_version;
    IF NOT FOUND OR coupon.cancelled_at IS NOT NULL OR coupon.used >= campaign.uses_per_code
       OR campaign.uses_per_customer <= (
              SELECT count(*) FROM coupon_uses AS u
               WHERE u.customer_id = ANY (everyone) AND u.campaign_id = campaign.id AND u.released_at IS NULL)
       OR p_others <> array(
              SELECT u.code FROM coupon_uses AS u
               WHERE u.customer_id = ANY (everyone) AND u.reference = p_reference AND u.released_at IS NULL
               ORDER BY u.code COLLATE "C") THEN
        RETURN 'changed';
    END IF;
    INSERT INTO coupon_uses (id, code, campaign_id, customer_id, reference, currency, basket, discount,
                             redeemed_at, idempotency_key, input_hash)
    VALUES (p_use, p_code, campaign.id, p_customer, p_reference, p_currency, p_basket, p_discount,
            p_now, p_idempotency_key, p_input_hash)
    ON CONFLICT (idempotency_key) DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'changed';
    END IF;
    UPDATE coupons SET used = used + 1 WHERE code = p_code;
    RETURN 'used';
END $$;
