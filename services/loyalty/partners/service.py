"""Partners issue, accept and take back points; the ledger has one side, the exchange the other."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.earning import amounts
from services.loyalty.earning.service import settle
from services.loyalty.ledger import store as ledger
from services.loyalty.ledger.store import Cause, Key, Posted
from services.loyalty.partners import rules, store
from services.loyalty.partners.rules import Exchanged
from services.loyalty.partners.schemas import AcceptIn, IssueIn
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tables import LoyaltyPartner, PartnerExchange
from shared.clock import utc_now
from shared.database import Database, raw
from shared.ids import new_id
from shared.jobs import Job
from shared.problems import Conflict, FieldError, Forbidden, Invalid
from shared.web.security import Caller

CLOSE_EVERY_S = 3600.0
CLOSING_TIMEOUT_MS = 600_000


class PartnerInactive(Conflict):
    slug, title = "partner-inactive", "This partner takes no part at present"


class PartnerLimitReached(Conflict):
    slug, title = "partner-limit-reached", "The partner may not issue so many points in this month"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Both sides of an exchange."""

    customer_id: UUID
    posted: Posted
    exchange: PartnerExchange
    arithmetic: str


async def acting(session: AsyncSession, partner_id: UUID, caller: Caller) -> LoyaltyPartner:
    """The partner, when this caller may act for it.

    Raises:
        UnknownPartner, Forbidden.
    """
    if caller.may("admin"):
        return await store.partner(session, partner_id)
    partner = await session.get(LoyaltyPartner, partner_id)
    if partner is None or caller.id not in partner.callers:
        raise Forbidden("This key does not act for this partner.")
    return partner


async def issue(
    session: AsyncSession,
    partner: LoyaltyPartner,
    wanted: IssueIn,
    *,
    settings: LoyaltySettings,
    actor: str,
    now: datetime,
) -> Outcome:
    """Give a member points for the partner's units; the partner owes them from now on.

    Raises:
        PartnerInactive, Invalid (worth less than one point), PartnerLimitReached, TooManyPoints: nothing was
            changed.
    """
    _require_active(partner)
    exchanged = rules.exchange(wanted.units, partner.points_per_unit, given=partner.unit, taken="points")
    _worth_something(exchanged, "/units")
    month = now.date().replace(day=1)
    issued = await store.count_issued(session, partner.id, month, exchanged.amount)
    if partner.monthly_limit is not None and issued > partner.monthly_limit:
        left = partner.monthly_limit - (issued - exchanged.amount)
        raise PartnerLimitReached(f"{max(0, left)} points are left this month.", limit=partner.monthly_limit)
    connection = await raw(session)
    posted = await ledger.earn(
        connection,
        wanted.customer_id,
        exchanged.amount,
        _cause(partner, wanted.reason or f"Points from {partner.name}", exchanged, actor, now),
        _key(),
        expires_at=amounts.expiry(now, settings.points_days),
        cost_per_point=settings.cost_per_point,
        partner=partner.id,
    )
    side = PartnerExchange(
        transfer_id=posted.transfer_id,
        partner_id=partner.id,
        units=wanted.units,
        rate=partner.points_per_unit,
        price=partner.issued_price,
    )
    session.add(side)
    await settle(connection, [wanted.customer_id])
    session.info["emitted"] = True
    return Outcome(wanted.customer_id, posted, side, exchanged.arithmetic)


async def accept(
    session: AsyncSession, partner: LoyaltyPartner, wanted: AcceptIn, *, actor: str, now: datetime
) -> Outcome:
    """Take a member's points for the partner's units; we owe them to the partner from now on.

    Raises:
        PartnerInactive, Invalid (worth less than one unit), UnknownMember, InsufficientPoints: nothing was
            changed.
    """
    _require_active(partner)
    exchanged = rules.exchange(wanted.points, partner.units_per_point, given="points", taken=partner.unit)
    _worth_something(exchanged, "/points")
    cause = _cause(partner, wanted.reason or f"Points for {partner.name}", exchanged, actor, now)
    connection = await raw(session)
    posted = await ledger.spend(
        connection, wanted.customer_id, wanted.points, cause, _key(), partner=partner.id
    )
    side = PartnerExchange(
        transfer_id=posted.transfer_id,
        partner_id=partner.id,
        units=exchanged.amount,
        rate=partner.units_per_point,
        price=partner.accepted_price,
    )
    session.add(side)
    session.info["emitted"] = True
    return Outcome(wanted.customer_id, posted, side, exchanged.arithmetic)


async def give_back(
    session: AsyncSession,
    partner: LoyaltyPartner,
    transfer_id: UUID,
    *,
    reason: str,
    actor: str,
    now: datetime,
) -> Outcome:
    """Undo an exchange, once: each side gets back what it gave.

    Raises:
        UnknownExchange, AlreadyReversed, InsufficientPoints: nothing was changed.
    """
    side = await store.exchange(session, partner.id, transfer_id)
    connection = await raw(session)
    (customer_id,) = await ledger.members_of(connection, transfer_id)
    cause = Cause(reason, actor, now, f"partner {partner.id}")
    posted = await ledger.reverse(connection, transfer_id, cause, _key())
    await settle(connection, [customer_id])
    session.info["emitted"] = True
    return Outcome(customer_id, posted, side, f"all {posted.points} points given back")


async def close_days(database: Database) -> None:
    """Keep what moved on days that have been over for a day: no transaction is still to come to them."""
    until = (utc_now() - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    for partner_id in await store.every_partner(database.pool):
        async with database.pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL statement_timeout = {CLOSING_TIMEOUT_MS}")
            await store.close_days(connection, partner_id, until)


JOBS = (Job("close partners' days", CLOSE_EVERY_S, close_days),)


def _require_active(partner: LoyaltyPartner) -> None:
    """Refuse what a partner that takes no part would do.

    Raises:
        PartnerInactive.
    """
    if not partner.active:
        raise PartnerInactive("Nothing was changed.")


def _worth_something(exchanged: Exchanged, pointer: str) -> None:
    if not 0 < exchanged.amount <= ledger.MAX_POINTS:
        detail = "is worth less than one" if exchanged.amount == 0 else "is worth too much for one exchange"
        raise Invalid(errors=[FieldError(pointer, f"{detail}: {exchanged.arithmetic}")])


def _cause(partner: LoyaltyPartner, reason: str, exchanged: Exchanged, actor: str, now: datetime) -> Cause:
    return Cause(reason, actor, now, f"partner {partner.id}", exchanged.arithmetic)


def _key() -> Key:
    """The ledger's key: a fresh one, as the request's own key is kept with its answer."""
    fresh = new_id()
    return Key(f"partner/{fresh}", fresh.bytes)
