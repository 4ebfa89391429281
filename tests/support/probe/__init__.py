"""A small service that exists only to test the plumbing: it counts what it hears."""
