"""What loyalty shows of a customer in the 360 view."""

from pathlib import Path
from uuid import UUID

import asyncpg

from shared.messaging.sections import Section

RECENT = 5

_BUILD = Path(__file__).with_name("section.sql").read_text(encoding="utf-8")
# Index: accounts_kind_owner_key.
_CUSTOMERS = """
    SELECT owner AS customer_id FROM accounts WHERE kind = 'member' AND owner > $1 ORDER BY owner LIMIT $2
"""


async def build(connection: asyncpg.Connection, ids: list[UUID]) -> dict[UUID, str]:
    """The sections of those of the customers who have an account, as JSON text."""
    return {row["customer_id"]: row["section"] for row in await connection.fetch(_BUILD, ids, RECENT)}


SECTION = Section("loyalty", build, _CUSTOMERS)
