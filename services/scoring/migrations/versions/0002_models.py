"""Models as artefacts: quality, promotion, rollback, drift, and more than one kind of purchase model."""

from pathlib import Path

from alembic import op

from shared.migrations import run_sql_file

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file(op, Path(__file__).with_name("0002_models.sql"))
