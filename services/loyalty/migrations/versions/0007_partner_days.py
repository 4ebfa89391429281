"""The days of partners that are closed, and how those that are not are added up."""

from pathlib import Path

from alembic import op

from services.loyalty.partners.store import FUNCTION
from shared.migrations import run_sql_file

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file(op, Path(__file__).with_name("0007_partner_days.sql"))
    run_sql_file(op, FUNCTION)
