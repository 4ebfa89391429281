"""Profile: who the customer is, what they agreed to, and what they did."""
