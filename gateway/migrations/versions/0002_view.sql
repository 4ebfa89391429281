-- What each service shows of a customer, as JSON text that is never parsed on the way out. `body` is null
-- once the service knows nothing of the customer any more; the row stays, so that an older snapshot that
-- comes late cannot bring the customer back.
CREATE TABLE view_sections (
    customer_id uuid NOT NULL,
    section     text NOT NULL CHECK (section IN ('profile', 'feedback', 'loyalty', 'scoring')),
    version     bigint NOT NULL,
    as_of       timestamptz NOT NULL,
    body        text,
    PRIMARY KEY (customer_id, section)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
-- Bodies of a few kilobytes stay in the row: one page read per section, nothing to fetch or unpack.
ALTER TABLE view_sections SET (toast_tuple_target = 8160);

-- Whose a handle is. `handle` is a digest of kind, source and normalised value (gateway/view/identities.py),
-- so this table holds no personal data. Two customers may hold one handle for the moment between two
-- snapshots; the reader takes the customer whose profile is the newest.
CREATE TABLE view_identities (
    handle      bytea NOT NULL,
    customer_id uuid NOT NULL,
    PRIMARY KEY (handle, customer_id)
);
CREATE INDEX view_identities_customer ON view_identities (customer_id);

-- The journey: one line per thing that happened. `position` counts a customer's lines in the order in which
-- they were committed here, which is what a stream resumes from; people read by `occurred_at`.
CREATE TABLE timeline (
    event_id    uuid NOT NULL,
    item        smallint NOT NULL,
    customer_id uuid NOT NULL,
    position    bigint NOT NULL,
    type        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    summary     text NOT NULL,
    PRIMARY KEY (event_id, item)
);
CREATE INDEX timeline_journey ON timeline (customer_id, occurred_at, event_id, item);
CREATE UNIQUE INDEX timeline_positions ON timeline (customer_id, position);

-- The last position given to each customer. Its row lock makes positions appear in their order.
CREATE TABLE timeline_heads (
    customer_id uuid PRIMARY KEY,
    position    bigint NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- Whose a ticket is, as far as events have said; the row is also what two events about one ticket meet at.
CREATE TABLE timeline_tickets (
    ticket_id   uuid PRIMARY KEY,
    customer_id uuid
);

-- Lines about tickets that have no customer yet.
CREATE TABLE timeline_waiting (
    event_id    uuid NOT NULL,
    item        smallint NOT NULL,
    ticket_id   uuid NOT NULL,
    type        text NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    summary     text NOT NULL,
    PRIMARY KEY (event_id, item)
);
CREATE INDEX timeline_waiting_ticket ON timeline_waiting (ticket_id);
