"""The ledger: its tables, what they refuse, and the functions that post; on the plumbing."""

from pathlib import Path

from alembic import op

from services.loyalty.ledger import store
from shared.migrations import install_plumbing, run_sql_file

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    install_plumbing(op)
    run_sql_file(op, Path(__file__).with_name("0001_ledger.sql"))
    for function in store.FUNCTIONS:
        run_sql_file(op, function)
