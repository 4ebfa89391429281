-- When a referral is looked at, and looked at again when something becomes known of its friend. Null: it has ended
-- and nothing came since; infinity: one of the two was erased.
ALTER TABLE referrals ADD COLUMN look_at timestamptz;
UPDATE referrals SET look_at = CASE WHEN reason = 'erased' THEN 'infinity'::timestamptz ELSE now() END
 WHERE status = 'joined' OR reason = 'erased';
ALTER TABLE referrals ALTER COLUMN look_at SET DEFAULT now();
DROP INDEX referrals_open;
CREATE INDEX referrals_due ON referrals (look_at, id) WHERE look_at IS NOT NULL;
