"""The edge: who calls, what they may, how much of it, and where it goes."""
