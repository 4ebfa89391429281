"""Facts: the sufficient statistics of each customer, kept up to date from events."""
