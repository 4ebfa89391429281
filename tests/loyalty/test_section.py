"""The loyalty section, and that the tables are what tables.py says."""

from datetime import timedelta
from uuid import uuid4

import orjson
from sqlalchemy import inspect
from sqlalchemy.engine import Connection

from services.loyalty import programme_tables, section
from services.loyalty.tables import Base
from shared.database import Database
from tests.loyalty.points import MORNING, Ledger


async def test_the_section_is_the_same_bytes_each_time_and_only_for_members(ledger: Ledger) -> None:
    members = [await ledger.member(100, MORNING + timedelta(days=n)) for n in range(3)]
    async with ledger.pool.acquire() as connection:
        first = await section.build(connection, [*members, uuid4()])
        again = await section.build(connection, list(reversed(members)))
    assert set(first) == set(members)
    assert first == again


async def test_the_section_shows_the_last_entries_newest_first(ledger: Ledger) -> None:
    member = await ledger.member(100)
    for points in range(1, 8):
        await ledger.spend(member, points)
    async with ledger.pool.acquire() as connection:
        body = orjson.loads((await section.build(connection, [member]))[member])
    assert [entry["points"] for entry in body["recent"]] == [-7, -6, -5, -4, -3]
    assert body["balance"] == 72
    assert body["next_expiry"] is None


async def test_a_rebuild_walks_through_all_members_in_order(ledger: Ledger) -> None:
    members = sorted([await ledger.member(n) for n in range(3)])
    rows = await ledger.pool.fetch(section.SECTION.customers, members[0], 10)
    assert [row["customer_id"] for row in rows] == members[1:]


async def test_the_tables_are_what_tables_py_says(database: Database) -> None:
    def columns(connection: Connection) -> dict[str, set[tuple[str, str, bool]]]:
        found = inspect(connection)
        return {
            table: {
                (column["name"], column["type"].compile(connection.dialect), bool(column["nullable"]))
                for column in found.get_columns(table)
            }
            for table in Base.metadata.tables
        }

    async with database.session() as session:
        connection = await session.connection()
        there = await connection.run_sync(columns)
        dialect = connection.dialect
    assert programme_tables.Deed.metadata is Base.metadata
    for name, table in Base.metadata.tables.items():
        said = {
            (column.name, column.type.compile(dialect), bool(column.nullable)) for column in table.columns
        }
        assert said == there[name], name
