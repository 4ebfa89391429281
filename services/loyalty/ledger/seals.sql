-- The sealed history: a chain of hashes over everything that was posted, made in the background.
--
-- This file may be run again: a revision that changes a function does so.

-- What a seal covers of a transfer: its row, its entries, the lots it made and the lots it used, as text that does
-- not depend on a session's settings. Columns that come later stay out of it.
CREATE OR REPLACE VIEW sealable AS
SELECT t.id AS transfer_id, t.posted_in,
       convert_to(
           ROW(t.id, t.kind, t.points, t.reason, t.rule, t.arithmetic, t.actor, t.event_id,
               extract(epoch FROM t.occurred_at), extract(epoch FROM t.posted_at), t.posted_in, t.reverses,
               t.reversed_before, t.idempotency_key, encode(t.input_hash, 'hex'))::text
           || coalesce((SELECT string_agg(ROW('entry', e.id, e.account_id, e.points, e.balance)::text, ''
                                          ORDER BY e.account_id)
                          FROM entries AS e WHERE e.transfer_id = t.id), '')
           || coalesce((SELECT string_agg(ROW('lot', l.id, l.account_id, l.points, extract(epoch FROM l.earned_at),
                                              extract(epoch FROM l.expires_at), l.cost_per_point, l.origin,
                                              extract(epoch FROM l.pending_until), l.hold)::text, '' ORDER BY l.id)
                          FROM lots AS l WHERE l.transfer_id = t.id), '')
           || coalesce((SELECT string_agg(ROW('use', u.lot_id, u.points)::text, '' ORDER BY u.lot_id)
                          FROM uses AS u WHERE u.transfer_id = t.id), ''), 'UTF8') AS content
  FROM transfers AS t;

-- Seals one batch of transfers; returns how many. It takes no lock that a posting waits for, and seals only what
-- no running transaction can still add to: transfers of transactions older than every running one.
--
-- After a restore into another server the transactions' numbers begin anew; the old ones, which then lie ahead, are
-- sealed first. What is ahead is asked by each statement of its own snapshot: a transfer that it sees and whose number
-- that snapshot has not reached is another server's, and not one that was posted while this function ran.
-- Index: transfers_sealing.
CREATE OR REPLACE FUNCTION seal_transfers(p_limit int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    oldest   bigint;
    newest   bigint;
    latest   record;
    restored boolean;
    item     record;
    sealed   int := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(362) THEN
        RETURN 0;  -- another replica is at it
    END IF;
    oldest := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    newest := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    SELECT s.position, s.hash, t.posted_in, t.id INTO latest
      FROM seals AS s JOIN transfers AS t ON t.id = s.transfer_id ORDER BY s.position DESC LIMIT 1;
    IF NOT FOUND THEN
        SELECT 0::bigint AS position, ''::bytea AS hash, -1::bigint AS posted_in,
               '00000000-0000-0000-0000-000000000000'::uuid AS id INTO latest;
    END IF;
    restored := latest.posted_in = -1 OR latest.posted_in >= newest;
    IF restored THEN
        latest.id := '00000000-0000-0000-0000-000000000000';
        latest.posted_in := CASE WHEN EXISTS (
            SELECT FROM transfers AS t WHERE t.posted_in >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
               AND NOT EXISTS (SELECT FROM seals AS s WHERE s.transfer_id = t.id)) THEN newest ELSE -1 END;
    END IF;
    FOR item IN
        SELECT c.transfer_id, c.content FROM sealable AS c
         WHERE (c.posted_in, c.transfer_id) > (latest.posted_in, latest.id)
           AND (c.posted_in < oldest
                OR restored AND c.posted_in >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
           AND NOT EXISTS (SELECT FROM seals AS s WHERE s.transfer_id = c.transfer_id)
         ORDER BY c.posted_in, c.transfer_id LIMIT p_limit
    LOOP
        latest.position := latest.position + 1;
        latest.hash := sha256(latest.hash || item.content);
        INSERT INTO seals (position, transfer_id, hash) VALUES (latest.position, item.transfer_id, latest.hash);
        sealed := sealed + 1;
    END LOOP;
    RETURN sealed;
END $$;
