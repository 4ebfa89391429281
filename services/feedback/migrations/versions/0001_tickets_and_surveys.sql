-- A ticket is one piece of feedback and what becomes of it. Feedback from a partner is one ticket per
-- partner and source id, whatever is delivered twice. `mood` is null when nothing in the text or rating
-- said anything; `reading` explains it. `linked_*` say how the customer was found.
CREATE TABLE tickets (
    id                  uuid PRIMARY KEY,
    customer_id         uuid,
    follow_up_of        uuid REFERENCES tickets,
    partner             text,
    source_id           text,
    channel             text NOT NULL,
    kind                text NOT NULL CHECK (kind IN ('complaint', 'question', 'praise', 'suggestion', 'review',
                                                      'idea', 'care_task', 'other')),
    text                text NOT NULL,
    rating              double precision,
    contact             jsonb NOT NULL,
    contact_name        text,
    status              text NOT NULL CHECK (status IN ('new', 'open', 'pending_customer', 'pending_third_party',
                                                        'resolved', 'closed')),
    language            text CHECK (language IN ('zh', 'en')),
    category            text NOT NULL CHECK (category IN ('product', 'service', 'logistics', 'price', 'account',
                                                          'other')),
    severity            text NOT NULL CHECK (severity IN ('low', 'normal', 'high', 'critical')),
    mood                double precision CHECK (mood BETWEEN -1 AND 1),
    reading             jsonb NOT NULL,
    department          text,
    assignee            text,
    mentions            int NOT NULL,
    version             int NOT NULL,
    occurred_at         timestamptz NOT NULL,
    opened_at           timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    first_response_at   timestamptz,
    resolved_at         timestamptz,
    closed_at           timestamptz,
    linked_by           text,
    linked_confidence   double precision,
    linked_at           timestamptz,
    UNIQUE (partner, source_id),
    CHECK ((resolved_at IS NOT NULL) = (status IN ('resolved', 'closed'))),
    CHECK ((closed_at IS NOT NULL) = (status = 'closed'))
);
-- The lists, newest first.
CREATE INDEX tickets_by_status ON tickets (status, id);
CREATE INDEX tickets_by_category ON tickets (category, id);
CREATE INDEX tickets_by_kind ON tickets (kind, id);
CREATE INDEX tickets_by_customer ON tickets (customer_id, id) WHERE customer_id IS NOT NULL;
-- The section of a customer: what is open, what came last, the mood of a span of time.
CREATE INDEX tickets_of_customer ON tickets (customer_id, occurred_at, id) INCLUDE (mood)
    WHERE customer_id IS NOT NULL;
CREATE INDEX tickets_open_of_customer ON tickets (customer_id, occurred_at, id)
    WHERE customer_id IS NOT NULL AND status NOT IN ('resolved', 'closed');

-- Which webhooks became which ticket; a receipt is counted once.
CREATE TABLE ticket_receipts (
    receipt_id  uuid PRIMARY KEY,
    ticket_id   uuid NOT NULL REFERENCES tickets
);
CREATE INDEX ticket_receipts_of_ticket ON ticket_receipts (ticket_id);

CREATE TABLE ticket_messages (
    id          uuid PRIMARY KEY,
    ticket_id   uuid NOT NULL REFERENCES tickets,
    author      text NOT NULL,
    sender      text NOT NULL CHECK (sender IN ('agent', 'customer')),
    visibility  text NOT NULL CHECK (visibility IN ('public', 'internal')),
    text        text NOT NULL,
    sent_at     timestamptz NOT NULL
);
CREATE INDEX ticket_messages_of_ticket ON ticket_messages (ticket_id, id);

-- Everything that happened to a ticket; never changed.
CREATE TABLE ticket_history (
    id          uuid PRIMARY KEY,
    ticket_id   uuid NOT NULL REFERENCES tickets,
    at          timestamptz NOT NULL,
    actor       text NOT NULL,
    what        text NOT NULL CHECK (what IN ('opened', 'mentioned', 'linked', 'message', 'assigned', 'transition')),
    from_status text,
    to_status   text,
    comment     text,
    details     jsonb NOT NULL
);
CREATE INDEX ticket_history_of_ticket ON ticket_history (ticket_id, id);

CREATE TABLE surveys (
    id          text PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('nps', 'csat', 'ces')),
    title       text NOT NULL,
    questions   jsonb NOT NULL,
    lowest      int NOT NULL,
    highest     int NOT NULL CHECK (highest > lowest),
    created_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO surveys (id, kind, title, questions, lowest, highest) VALUES
    ('nps', 'nps', 'Net Promoter Score',
     '{"en": "How likely are you to recommend us to a friend or colleague?",
       "zh": "您有多大可能向朋友或同事推荐我们？"}', 0, 10),
    ('csat', 'csat', 'Customer satisfaction',
     '{"en": "How satisfied are you with us?", "zh": "您对我们有多满意？"}', 1, 5),
    ('ces', 'ces', 'Customer effort',
     '{"en": "We made it easy to handle your issue. How far do you agree?",
       "zh": "我们让您轻松地解决了问题。您有多同意？"}', 1, 7);

CREATE TABLE survey_answers (
    id          uuid PRIMARY KEY,
    survey_id   text NOT NULL REFERENCES surveys,
    customer_id uuid NOT NULL,
    score       int NOT NULL,
    comment     text,
    mood        double precision CHECK (mood BETWEEN -1 AND 1),
    touchpoint  text,
    channel     text,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL
);
-- The results: scores of one survey in a span of time, without visiting the table.
CREATE INDEX survey_answers_results ON survey_answers (survey_id, occurred_at) INCLUDE (score, touchpoint);
CREATE INDEX survey_answers_of_customer ON survey_answers (customer_id, occurred_at, id);
