"""The functions once more: postings in less time; what a restore brought unsealed is sealed first."""

from alembic import op

from services.loyalty.ledger import store
from shared.migrations import run_sql_file

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for function in (*store.FUNCTIONS, *store.FUNCTIONS_OF_0003):
        run_sql_file(op, function)
