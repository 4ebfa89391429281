"""Postings look once for the lot they begin with, and write the event that tells of them by themselves."""

from alembic import op

from services.loyalty.ledger import store
from shared.migrations import run_sql_file

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for function in store.FUNCTIONS:
        run_sql_file(op, function)
