-- When a referral is looked at, and looked at again when something becomes known of its friend. Null: it has ended
-- and nothing came since; infinity: one of the two was erased.
ALTER TABLE referrals ADD COLUMN look_at timestamptz;
UPDATE referrals SET look_at = CASE WHEN reason = 'erased' THEN 'infinity'::timestamptz ELSE now() END
 WHERE status = 'joined' OR reason = 'erased';
ALTER TABLE referrals ALTER COLUMN look_at SET DEFAULT now();
DROP INDEX referrals_open;
CREATE INDEX referrals_due ON referrals (look_at, id) WHERE look_at IS NOT NULL;

-- What a major unit of the deed's currency was worth in the programme's when the deed was first counted; null in the
-- programme's own currency, and for earlier deeds until they are counted again.
ALTER TABLE deeds ADD COLUMN exchange numeric(18, 6);

-- By what members are counted. It follows the settings until the first standing is there, and stays then: standings
-- are sums of the one or the other, and the thresholds are in its unit.
CREATE TABLE tier_terms (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    basis  text NOT NULL,
    period text NOT NULL
);

-- Digests of the ids of erased customers.
CREATE TABLE forgotten (
    digest bytea PRIMARY KEY
);
