"""What else happened: lines, attributes, consents, standings, merges and erasures."""

from pathlib import Path

from alembic import op

from shared.migrations import run_sql_file

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file(op, Path(__file__).with_name("0004_history.sql"))
