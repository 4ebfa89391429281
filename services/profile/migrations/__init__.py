"""The profile database's revisions."""
