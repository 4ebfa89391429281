-- Refunds that were heard of, before or after their purchase. What they take back is a transfer that reverses
-- part of the purchase's earning; what could not be taken yet is accounts.owed.
CREATE TABLE refunds (
    refund_id       uuid PRIMARY KEY,
    purchase_id     uuid NOT NULL,
    customer_id     uuid NOT NULL,
    amount          bigint NOT NULL CHECK (amount > 0),           -- minor units of the purchase's currency
    purchase_amount bigint NOT NULL CHECK (purchase_amount > 0),
    occurred_at     timestamptz NOT NULL,
    event_id        uuid NOT NULL
);
-- What is due of some customers.
CREATE INDEX refunds_of_customer ON refunds (customer_id, purchase_id);
