"""Tickets: from new to closed, every step recorded."""
