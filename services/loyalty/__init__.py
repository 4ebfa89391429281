"""Loyalty: what customers have earned and spent, held by a double-entry ledger."""
