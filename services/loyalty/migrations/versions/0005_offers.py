"""What points and codes buy: rewards, coupons and the partners of the coalition."""

from pathlib import Path

from alembic import op

from services.loyalty.coupons.uses import FUNCTION as USE_COUPON
from services.loyalty.rewards.store import FUNCTION as TAKE_REWARD
from shared.migrations import run_sql_file

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FUNCTIONS = (USE_COUPON, TAKE_REWARD)


def upgrade() -> None:
    run_sql_file(op, Path(__file__).with_name("0005_offers.sql"))
    for function in FUNCTIONS:
        run_sql_file(op, function)
