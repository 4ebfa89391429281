"""The ledger: the one way points move, what it refuses, and how it is read and audited."""
