"""Alembic revisions of the feedback service's database."""
