"""Tiers: how far a member has climbed, by what they bought in the last year, and what that gives."""
