"""Scoring: what a customer is worth and how they are doing, from what they did."""
