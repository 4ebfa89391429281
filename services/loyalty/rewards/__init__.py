"""Rewards: what points are spent on."""
