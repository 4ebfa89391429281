"""What to do next for whom, and plans for a budget."""

from pathlib import Path

from alembic import op

from shared.migrations import run_sql_file

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file(op, Path(__file__).with_name("0008_actions.sql"))
