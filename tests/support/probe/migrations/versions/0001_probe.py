"""The plumbing and one table of effects."""

from alembic import op

from shared.migrations import install_plumbing

revision = "0001"
down_revision = None


def upgrade() -> None:
    install_plumbing(op)
    op.execute("CREATE TABLE heard (event_id uuid NOT NULL, kind text NOT NULL, customer_id uuid NOT NULL)")
    op.execute("CREATE TABLE things (customer_id uuid PRIMARY KEY, name text NOT NULL)")


def downgrade() -> None:
    op.execute("DROP TABLE heard, things")
