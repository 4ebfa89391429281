-- What moved on a partner's account on each day (UTC) that is not closed, of what was posted before a moment. What
-- the partner issued leaves its account; a reversal goes the other way, at the price of what it reverses.
--
-- Entries get their numbers in the order of time, but for transactions that run side by side; none runs for a day.
-- Where to begin is looked up first, so that the plan knows how little there is to read.
-- Indexes: partner_days_pkey, accounts_kind_owner_key, entries_of_partners.
--
-- This file may be run again: a revision that changes the function does so.
CREATE OR REPLACE FUNCTION partner_moves(p_partner uuid, p_until timestamptz) RETURNS TABLE (
    day date, issued bigint, issued_back bigint, issued_worth numeric, accepted bigint, accepted_back bigint,
    accepted_worth numeric, moved bigint, last_entry bigint) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    account    bigint := (SELECT id FROM accounts WHERE kind = 'partner' AND owner = p_partner);
    closed     date;
    first_open bigint;
BEGIN
    SELECT d.day, d.next_entry INTO closed, first_open
      FROM partner_days AS d WHERE d.partner_id = p_partner ORDER BY d.day DESC LIMIT 1;
    first_open := coalesce(first_open, 0);
    RETURN QUERY
    WITH entry AS (
        SELECT e.id, e.points, (t.posted_at AT TIME ZONE 'UTC')::date AS day, t.reverses IS NOT NULL AS returned,
               (e.points < 0) = (t.reverses IS NULL) AS issued, coalesce(x.price, 0) AS price
          FROM entries AS e
          JOIN transfers AS t ON t.id = e.transfer_id
          LEFT JOIN partner_exchanges AS x ON x.transfer_id = coalesce(t.reverses, t.id)
         WHERE e.account_id = account AND e.id >= first_open AND e.balance IS NULL AND e.account_id >= 100
           AND t.posted_at < p_until
    )
    SELECT day,
           coalesce(sum(-points) FILTER (WHERE issued AND NOT returned), 0)::bigint,
           coalesce(sum(points) FILTER (WHERE issued AND returned), 0)::bigint,
           coalesce(sum(-points * price) FILTER (WHERE issued), 0),
           coalesce(sum(points) FILTER (WHERE NOT issued AND NOT returned), 0)::bigint,
           coalesce(sum(-points) FILTER (WHERE NOT issued AND returned), 0)::bigint,
           coalesce(sum(points * price) FILTER (WHERE NOT issued), 0),
           sum(points)::bigint,
           max(id)
      FROM entry WHERE closed IS NULL OR day > closed GROUP BY day;
END $$;
