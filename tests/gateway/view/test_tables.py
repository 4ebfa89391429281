"""The data at a glance is the data that is there."""

from gateway.tables import Base
from shared.database import Database


async def test_tables_have_the_columns_that_the_migrations_made(database: Database) -> None:
    rows = await database.pool.fetch(
        """SELECT table_name, column_name, is_nullable = 'YES' AS optional
           FROM information_schema.columns WHERE table_schema = 'public'"""
    )
    made: dict[str, dict[str, bool]] = {}
    for row in rows:
        made.setdefault(row["table_name"], {})[row["column_name"]] = row["optional"]
    for name, table in Base.metadata.tables.items():
        assert {column.name: bool(column.nullable) for column in table.columns} == made[name], name
