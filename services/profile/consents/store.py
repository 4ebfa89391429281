"""All SQL of consents."""

from datetime import datetime
from uuid import UUID

from sqlmodel import col, func, select, tuple_
from sqlmodel.ext.asyncio.session import AsyncSession

from services.profile.tables import Consent


async def latest(session: AsyncSession, customer_id: UUID, purpose: str, channel: str) -> Consent | None:
    """What stands for one purpose and channel."""
    query = (
        select(Consent)
        .where(Consent.customer_id == customer_id, Consent.purpose == purpose, Consent.channel == channel)
        .order_by(col(Consent.occurred_at).desc(), col(Consent.id).desc())
        .limit(1)
    )
    return (await session.exec(query)).first()


async def count(session: AsyncSession, customer_id: UUID) -> int:
    """For how many purposes and channels something stands."""
    each = select(Consent.purpose, Consent.channel).where(Consent.customer_id == customer_id).distinct()
    return (await session.exec(select(func.count()).select_from(each.subquery()))).one()


async def standing(session: AsyncSession, customer_id: UUID) -> list[Consent]:
    """What stands, for each purpose and channel. Index: consents_latest."""
    query = (
        select(Consent)
        .distinct(col(Consent.purpose), col(Consent.channel))
        .where(Consent.customer_id == customer_id)
        .order_by(
            col(Consent.purpose),
            col(Consent.channel),
            col(Consent.occurred_at).desc(),
            col(Consent.id).desc(),
        )
    )
    return list((await session.exec(query)).all())


async def history(
    session: AsyncSession, customer_id: UUID, purpose: str, before: tuple[datetime, UUID] | None, limit: int
) -> list[Consent]:
    """Everything that was ever said for a purpose, the latest first."""
    query = select(Consent).where(Consent.customer_id == customer_id, Consent.purpose == purpose)
    if before is not None:
        query = query.where(tuple_(col(Consent.occurred_at), col(Consent.id)) < tuple_(*before))
    query = query.order_by(col(Consent.occurred_at).desc(), col(Consent.id).desc()).limit(limit)
    return list((await session.exec(query)).all())
