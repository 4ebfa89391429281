"""Plumbing and contracts: what every part stands on. It names no business noun outside `contracts`."""
