"""Tickets with their history, surveys with their answers, on the plumbing."""

from pathlib import Path

from alembic import op

from shared.migrations import install_plumbing, run_sql_file

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    install_plumbing(op)
    run_sql_file(op, Path(__file__).with_name("0001_tickets_and_surveys.sql"))
