"""Which customers are one by now: limits and lists count for all of them, rows keep whose they were.

So an undone merge gives each their own again, without anything being written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

# Index: accounts_kind_owner_key, accounts_merged.
_FAMILY = text("""
    SELECT survivor, array(SELECT family(survivor)) AS members
      FROM survivors(ARRAY[CAST(:customer AS uuid)])
""")


@dataclass(frozen=True, slots=True)
class Family:
    """The customer who is left, and all who are one with them, themselves among these."""

    survivor: UUID
    members: Sequence[UUID]


async def family_of(session: AsyncSession, customer_id: UUID) -> Family:
    """Everybody who is one with this customer: only themselves when nothing was merged."""
    row = (await session.execute(_FAMILY, {"customer": customer_id})).one()
    return Family(row.survivor, row.members)
