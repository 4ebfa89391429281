"""Experiments: who is in which arm, what the arms did, and how sure that is."""
