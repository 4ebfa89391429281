-- Customers that are one, that are two again, and that are forgotten. Points move as transfers, lot by lot.
--
-- This file may be run again: a revision that changes a function does so.

-- The customer and all who are merged into it, directly or not.
CREATE OR REPLACE FUNCTION family(p_customer uuid) RETURNS SETOF uuid LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    WITH RECURSIVE down AS (
        SELECT p_customer AS customer
        UNION SELECT a.owner FROM down JOIN accounts AS a ON a.kind = 'member' AND a.merged_into = down.customer
    ) SELECT customer FROM down;
END $$;

-- Moves everything of one customer to another: available, pending and held points, and the lifetime totals. From
-- then on whatever is posted for the merged one reaches the survivor.
--
-- Returns merged; known (this merge was dealt with before, or its undo was); too-early (another merge of this
-- customer still stands, whose undo must be on its way: to be tried again).
CREATE OR REPLACE FUNCTION merge_customers(p_merge uuid, p_survivor uuid, p_merged uuid, p_event_id uuid) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    root uuid;
    old  accounts;
BEGIN
    IF EXISTS (SELECT FROM merges WHERE id = p_merge) THEN
        RETURN 'known';
    END IF;
    PERFORM lock_members(ARRAY[p_survivor, p_merged]);
    SELECT survivor INTO root FROM survivors(ARRAY[p_survivor]);
    SELECT * INTO old FROM accounts WHERE kind = 'member' AND owner = p_merged;
    IF old.merged_into IS NOT NULL OR root = p_merged THEN
        RETURN 'too-early';
    END IF;
    INSERT INTO merges (id, survivor, merged, earned, spent, owed)
    VALUES (p_merge, root, p_merged, old.earned, old.spent, old.owed) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'known';  -- by another, while this one waited
    END IF;
    PERFORM move_lots(array(SELECT l.id FROM lots AS l JOIN accounts AS a ON a.id = l.account_id
                             WHERE a.owner = p_merged AND a.kind <= 'hold' AND l.open),
                      'merge', NULL, root, 'Merged with another customer', 'reactions', p_event_id);
    UPDATE accounts SET earned = 0, spent = 0, owed = 0, merged_into = root WHERE kind = 'member' AND owner = p_merged;
    UPDATE accounts SET earned = earned + old.earned, spent = spent + old.spent, owed = owed + old.owed
     WHERE kind = 'member' AND owner = root;
    INSERT INTO section_marks (customer_id) VALUES (p_merged), (root);
    RETURN 'merged';
END $$;

-- Makes two of one again: of the points that the merged one had brought, what is left goes back, wherever it lies
-- by now. What came in since stays with the survivor, and so does what was put on hold since.
--
-- Returns undone, or known (it was undone before, or the merge is not heard of yet and will be passed over).
CREATE OR REPLACE FUNCTION unmerge_customers(p_merge uuid, p_survivor uuid, p_merged uuid, p_event_id uuid) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    merge merges;
    root  uuid;
    due   bigint;
BEGIN
    INSERT INTO merges (id, survivor, merged, undone_at) VALUES (p_merge, p_survivor, p_merged, now())
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        RETURN 'known';
    END IF;
    SELECT * INTO merge FROM merges WHERE id = p_merge FOR UPDATE;
    IF merge.undone_at IS NOT NULL THEN
        RETURN 'known';
    END IF;
    SELECT survivor INTO root FROM survivors(ARRAY[merge.survivor]);
    PERFORM FROM accounts WHERE kind = 'member' AND owner IN (root, merge.merged) ORDER BY owner FOR NO KEY UPDATE;
    IF root <> (SELECT survivor FROM survivors(ARRAY[merge.survivor])) THEN
        RAISE EXCEPTION 'a customer was merged at this moment' USING ERRCODE = 'serialization_failure';
    END IF;

    UPDATE merges SET undone_at = now() WHERE id = p_merge;
    -- Where the survivor was itself merged since, the totals have gone along.
    UPDATE merges SET earned = earned - merge.earned, spent = spent - merge.spent, owed = owed - merge.owed
     WHERE undone_at IS NULL AND merge.survivor IN (SELECT family(merged));
    due := least((SELECT owed FROM accounts WHERE kind = 'member' AND owner = root), merge.owed);
    UPDATE accounts SET earned = earned - merge.earned, spent = spent - merge.spent, owed = owed - due
     WHERE kind = 'member' AND owner = root;
    UPDATE accounts SET earned = earned + merge.earned, spent = spent + merge.spent, owed = owed + due, merged_into = NULL
     WHERE kind = 'member' AND owner = merge.merged;
    PERFORM move_lots(array(
                SELECT l.id FROM accounts AS holder JOIN lots AS l ON l.account_id = holder.id AND l.open
                 WHERE holder.owner = root AND holder.kind <= 'hold'
                   AND EXISTS (SELECT FROM entries AS e JOIN accounts AS earner ON earner.id = e.account_id
                                WHERE e.transfer_id = coalesce(l.hold, l.origin, l.transfer_id) AND e.points > 0
                                  AND earner.owner IN (SELECT family(merge.merged)))),
                      'merge', NULL, merge.merged, 'Merge undone', 'reactions', p_event_id);
    INSERT INTO section_marks (customer_id) VALUES (merge.merged), (root);
    RETURN 'undone';
END $$;

-- Forgets whose points these are: every id of the customer becomes a random one. The sums stay. Returns how many
-- accounts there were.
CREATE OR REPLACE FUNCTION forget_customer(p_customer uuid) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    each      uuid;
    pseudonym uuid;
    forgotten int := 0;
    more      int;
BEGIN
    FOR each IN SELECT family(p_customer) LOOP
        pseudonym := gen_random_uuid();
        UPDATE accounts SET owner = pseudonym WHERE owner = each AND kind <= 'hold';
        GET DIAGNOSTICS more = ROW_COUNT;
        forgotten := forgotten + more;
        UPDATE accounts SET merged_into = pseudonym WHERE merged_into = each;
        UPDATE merges SET survivor = CASE survivor WHEN each THEN pseudonym ELSE survivor END,
                          merged = CASE merged WHEN each THEN pseudonym ELSE merged END
         WHERE each IN (survivor, merged);
        INSERT INTO section_marks (customer_id) VALUES (each);
    END LOOP;
    RETURN forgotten;
END $$;
