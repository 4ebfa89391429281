"""Value: recency, frequency and money, the chance of being alive, and the lifetime value."""
