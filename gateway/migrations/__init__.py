"""Alembic revisions of the gateway's database."""
