"""Benchmarks: what the system does, as ratios to a yardstick measured side by side. See README.md here."""
