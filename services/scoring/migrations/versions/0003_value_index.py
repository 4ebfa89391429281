"""The value index with its weights, and the friends that customers brought."""

from pathlib import Path

from alembic import op

from shared.migrations import run_sql_file

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file(op, Path(__file__).with_name("0003_value_index.sql"))
