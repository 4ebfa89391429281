"""Alembic's entry: one call."""

from shared.migrations import run_in_alembic

run_in_alembic()
