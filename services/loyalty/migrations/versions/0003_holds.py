"""Pending and held points, expiry, merges and sealing: their tables, and the functions once more."""

from pathlib import Path

from alembic import op

from services.loyalty.ledger import store
from shared.migrations import run_sql_file

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_file(op, Path(__file__).with_name("0003_holds.sql"))
    for function in (*store.FUNCTIONS, *store.FUNCTIONS_OF_0003):
        run_sql_file(op, function)
