"""Experiments and what came of them."""

from pathlib import Path

from alembic import op

from shared.migrations import run_sql_file

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file(op, Path(__file__).with_name("0009_experiments.sql"))
