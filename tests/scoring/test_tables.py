"""The data at a glance is the data that is there."""

from services.scoring import campaign_tables
from shared.database import Database

PLUMBING = {
    "alembic_version",
    "dead_letters",
    "idempotency_keys",
    "inbox",
    "jobs",
    "outbox",
    "section_marks",
}


async def test_the_tables_are_those_of_the_migrations(database: Database) -> None:
    rows = await database.pool.fetch(
        """SELECT c.table_name, c.column_name, c.is_nullable = 'YES' AS optional
           FROM information_schema.columns AS c
           JOIN information_schema.tables AS t USING (table_schema, table_name)
           WHERE table_schema = 'public' AND t.table_type = 'BASE TABLE'"""
    )
    made = {
        (row["table_name"], row["column_name"], row["optional"])
        for row in rows
        if row["table_name"] not in PLUMBING and not row["table_name"].startswith("inbox_")
    }
    tables = campaign_tables.Base.metadata.tables.values()
    shown = {(table.name, column.name, bool(column.nullable)) for table in tables for column in table.columns}
    assert shown == made
