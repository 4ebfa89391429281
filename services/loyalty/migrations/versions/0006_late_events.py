"""What late events need: referrals that are looked at again, terms that stay, and who was erased."""

from pathlib import Path

from alembic import op

from shared.migrations import run_sql_file

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file(op, Path(__file__).with_name("0006_late_events.sql"))
