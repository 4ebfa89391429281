-- Taking a reward: stock, limit and points in one round trip. Whether it may be taken, and for how many points,
-- was judged a moment before (services/loyalty/rewards/rules.py); here it is made sure that this still holds. The
-- tier, and whether the partner takes part, are those of that moment.
--
-- Locks: the reward, then the member's account (by post_transfer). Whoever gives a reward back locks the
-- redemption before both.
--
-- This file may be run again: a revision that changes the function does so.

-- Outcomes: posted and replayed, with the redemption; changed (the terms, the stock or what the customer has are
-- not as they were judged: judge again); and what post_transfer refuses. Nothing has changed then.
CREATE OR REPLACE FUNCTION take_reward(
    p_redemption      uuid,
    p_reward          uuid,
    p_version         bigint,       -- of the terms that were judged
    p_customer        uuid,
    p_quantity        bigint,
    p_points          bigint,
    p_arithmetic      text,
    p_codes           text[],       -- new coupon codes, for a voucher: one for each piece
    p_shown           text[],       -- the same as people read them
    p_actor           text,
    p_now             timestamptz,
    p_idempotency_key text,
    p_input_hash      bytea,
    p_traceparent     text
) RETURNS TABLE (outcome text, balance bigint, redemption_id uuid) LANGUAGE plpgsql AS $$
DECLARE
    reward rewards;
    answer posting;
BEGIN
    SELECT * INTO reward FROM rewards WHERE id = p_reward AND version = p_version FOR NO KEY UPDATE;
    IF NOT FOUND OR reward.taken + p_quantity > reward.stock
       OR p_quantity > reward.limit_per_customer - (
              SELECT coalesce(sum(r.quantity), 0) FROM reward_redemptions AS r
               WHERE r.reward_id = p_reward AND r.cancelled_at IS NULL
                 AND r.customer_id = ANY (array(SELECT family(s.survivor) FROM survivors(ARRAY[p_customer]) AS s))) THEN
        outcome := 'changed';
        RETURN NEXT;
        RETURN;
    END IF;

    answer := post_transfer(
        'redemption', p_customer, 'member',
        CASE WHEN reward.partner_id IS NULL THEN 'issuer' ELSE 'partner' END::account_kind, p_points,
        reward.name, p_actor, p_now, p_idempotency_key, p_input_hash, 'reward ' || p_reward, p_arithmetic,
        p_traceparent => p_traceparent, p_partner => reward.partner_id);
    outcome := answer.outcome;
    balance := answer.balance;
    IF outcome <> 'posted' THEN
        SELECT id INTO redemption_id FROM reward_redemptions WHERE transfer_id = answer.transfer_id;
        RETURN NEXT;
        RETURN;
    END IF;

    UPDATE rewards SET taken = taken + p_quantity WHERE id = p_reward;
    INSERT INTO reward_redemptions (id, reward_id, customer_id, quantity, points, transfer_id, redeemed_at)
    VALUES (p_redemption, p_reward, p_customer, p_quantity, p_points, answer.transfer_id, p_now);
    PERFORM outbox_emit('reward.redeemed', p_customer, jsonb_build_object(
        'customer_id', p_customer, 'redemption_id', p_redemption, 'reward_id', p_reward, 'reward', reward.name,
        'kind', reward.kind, 'quantity', p_quantity, 'points', p_points, 'transfer_id', answer.transfer_id,
        'occurred_at', p_now), p_traceparent);
    INSERT INTO partner_exchanges (transfer_id, partner_id, units, rate, price)
    SELECT answer.transfer_id, id, floor(p_points * units_per_point), units_per_point, accepted_price
      FROM loyalty_partners WHERE id = reward.partner_id;
    INSERT INTO coupons (code, campaign_id, issue_id, customer_id, issued_at)
    SELECT code, reward.campaign_id, p_redemption, p_customer, p_now
      FROM unnest(p_codes) AS code WHERE reward.campaign_id IS NOT NULL;
    PERFORM outbox_emit('coupon.issued', p_customer, jsonb_build_object(
                'customer_id', p_customer, 'campaign_id', c.id, 'campaign', c.name, 'code', shown,
                'ends_at', c.ends_at, 'occurred_at', p_now), p_traceparent)
       FROM unnest(p_shown) AS shown JOIN coupon_campaigns AS c ON c.id = reward.campaign_id;
    redemption_id := p_redemption;
    RETURN NEXT;
END $$;
