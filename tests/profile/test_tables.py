"""tables.py shows the tables as the migrations make them."""

from sqlalchemy.dialects import postgresql

from services.profile.tables import Base
from tests.profile.made import Profile

PLUMBING = {
    "alembic_version",
    "dead_letters",
    "idempotency_keys",
    "inbox",
    "jobs",
    "outbox",
    "section_marks",
}
SAME = {"varchar": "text"}


async def test_the_tables_are_those_of_the_migrations(profile: Profile) -> None:
    rows = await profile.pool.fetch(
        """SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'YES' AS nullable
           FROM information_schema.columns AS c
           JOIN information_schema.tables AS t USING (table_schema, table_name)
           WHERE table_schema = 'public' AND t.table_type = 'BASE TABLE'"""
    )
    made = {
        (row["table_name"], row["column_name"]): (row["data_type"], row["nullable"])
        for row in rows
        if row["table_name"] not in PLUMBING and not row["table_name"].startswith("inbox_")
    }
    shown = {}
    for table in Base.metadata.tables.values():
        for column in table.columns:
            kind = column.type.compile(postgresql.dialect()).lower()
            shown[table.name, column.name] = (SAME.get(kind, kind), column.nullable)
    assert shown == made
