"""What to offer whom, and what demand to expect."""

from pathlib import Path

from alembic import op

from shared.migrations import run_sql_file

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file(op, Path(__file__).with_name("0007_recommendations.sql"))
