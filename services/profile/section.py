"""What the profile shows of a customer in the 360 view."""

from pathlib import Path
from uuid import UUID

import asyncpg

from services.profile.attributes.rules import RULE
from shared.messaging.sections import Section

RECENT = 10

_BUILD = Path(__file__).with_name("section.sql").read_text(encoding="utf-8")
# Index: customers_pkey.
_CUSTOMERS = "SELECT id AS customer_id FROM customers WHERE id > $1 ORDER BY id LIMIT $2"


async def build(connection: asyncpg.Connection, ids: list[UUID]) -> dict[UUID, str]:
    """The sections of those of the customers who exist, as JSON text."""
    return {row["id"]: row["section"] for row in await connection.fetch(_BUILD, ids, RULE, RECENT)}


SECTION = Section("profile", build, _CUSTOMERS)
