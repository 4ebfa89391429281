"""Use cases of purchases: record one or many, give back. The caller commits."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.profile.batches import (
    NO_SUCH_CUSTOMER,
    BatchOut,
    Entry,
    Rejected,
    in_events,
    parse,
    refuse,
    with_customers,
)
from services.profile.purchases import store
from services.profile.purchases.schemas import PurchaseIn, RefundIn
from services.profile.purchases.store import Key, Known, Refund, Row
from services.profile.settings import ProfileSettings
from services.profile.values import json_text
from shared.clock import utc_now
from shared.contracts import handles
from shared.contracts.profile import PurchaseRecorded, PurchaseRefunded
from shared.database import raw
from shared.ids import new_id
from shared.messaging import outbox, sections
from shared.problems import Conflict, FieldError, Invalid, NotFound

ENVELOPE_BYTES = 500  # of an event's item besides its lines
DIFFERS = FieldError("/source_id", "this purchase is recorded with another amount or currency")


class PurchaseDiffers(Conflict):
    slug, title = "purchase-differs", "This purchase is recorded with another amount or currency"


class NoSuchPurchase(NotFound):
    slug, title = "no-such-purchase", "There is no such purchase"


class RefundTooLarge(Conflict):
    slug, title = "refund-too-large", "More than what is left of the purchase"


class RefundDiffers(Conflict):
    slug, title = "refund-differs", "This refund is recorded with another purchase or amount"


@dataclass(slots=True)
class _Outcome:
    """What became of entries: recorded now, recorded before, refused."""

    recorded: list[UUID] = field(default_factory=list)
    known: list[UUID] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def add_repeat(self, entry: Entry[PurchaseIn], known: Known | None) -> None:
        """An entry not recorded now: it repeats a purchase, contradicts it, or its customer is unknown."""
        if known is None:
            problem = NO_SUCH_CUSTOMER
        elif (known.currency, known.amount) == (entry.item.currency, entry.item.amount):
            self.known.append(known.id)
            return
        else:
            problem = DIFFERS
        self.rejected.append(refuse(entry.index, problem))


async def record_batch(session: AsyncSession, items: Sequence[object], settings: ProfileSettings) -> BatchOut:
    """Record every purchase that fits, once each."""
    entries, unfit = await parse(items, PurchaseIn, settings)
    outcome = await _record(session, entries, settings)
    return BatchOut(
        accepted=len(outcome.recorded),
        duplicates=len(outcome.known),
        rejected=sorted([*unfit, *outcome.rejected], key=lambda refused: refused.index),
    )


async def record_one(
    session: AsyncSession, entry: Entry[PurchaseIn], settings: ProfileSettings
) -> tuple[UUID, bool]:
    """Record a purchase; returns its id, and whether it is new.

    Raises:
        Invalid: there is no customer of that id.
        PurchaseDiffers: the source recorded another purchase by this source_id.
    """
    outcome = await _record(session, [entry], settings)
    if outcome.recorded:
        return outcome.recorded[0], True
    if outcome.known:
        return outcome.known[0], False
    if outcome.rejected == [refuse(entry.index, DIFFERS)]:
        raise PurchaseDiffers()
    raise Invalid(errors=[NO_SUCH_CUSTOMER])


async def refund(
    session: AsyncSession, purchase_id: UUID, wanted: RefundIn
) -> tuple[Refund, store.Locked, bool]:
    """Give back part or all of a purchase.

    Returns:
        The refund, the purchase as it stands after it, and whether the refund is new.

    Raises:
        NoSuchPurchase, RefundTooLarge, RefundDiffers.
    """
    connection = await raw(session)
    purchase = await store.lock(connection, purchase_id)
    if purchase is None:
        raise NoSuchPurchase()
    source = wanted.source or purchase.source
    if wanted.source_id is not None:
        before = await store.find_refund(connection, (source, wanted.source_id))
        if before is not None:
            if (before.purchase_id, before.amount) != (purchase_id, wanted.amount):
                raise RefundDiffers()
            return before, purchase, False
    left = purchase.amount - purchase.refunded
    if wanted.amount > left:
        raise RefundTooLarge(refundable=left)
    made = Refund(
        new_id(),
        purchase_id,
        source,
        wanted.source_id,
        wanted.amount,
        wanted.reason,
        wanted.occurred_at or utc_now(),
    )
    if not await store.give_back(connection, made):
        raise RefundDiffers()  # another purchase's refund took the name at this moment
    item = handles.Refund(
        refund_id=made.id,
        purchase_id=purchase_id,
        customer_id=purchase.customer_id,
        amount=made.amount,
        purchase_amount=purchase.amount,
        currency=purchase.currency,
        occurred_at=made.occurred_at,
        purchased_at=purchase.occurred_at,
    )
    await outbox.emit(session, PurchaseRefunded(items=(item,)))
    await sections.mark(session, [purchase.customer_id])
    return made, replace(purchase, refunded=purchase.refunded + made.amount), True


async def _record(
    session: AsyncSession, entries: Sequence[Entry[PurchaseIn]], settings: ProfileSettings
) -> _Outcome:
    """Record what is new. A purchase that is recorded already makes no customer and changes nothing."""
    connection = await raw(session)
    outcome = _Outcome()
    first: dict[Key, Entry[PurchaseIn]] = {}
    for entry in entries:
        first.setdefault(_key(entry), entry)
    known = await store.find(connection, first.keys()) if first else {}
    fresh = [entry for key, entry in first.items() if key not in known]
    found = await with_customers(session, fresh, settings)
    rows = {_key(entry): _row(entry.item, customer_id) for entry, customer_id in found}
    new = await store.record(connection, list(rows.values()), utc_now()) if rows else set()
    recorded = [row for row in rows.values() if row.id in new]
    outcome.recorded += [row.id for row in recorded]
    known |= {(row.source, row.source_id): Known(row.id, row.currency, row.amount) for row in recorded}
    if len(recorded) < len(rows):  # somebody else recorded the others since we looked
        known |= await store.find(connection, rows.keys() - known.keys())
    for entry in entries:
        row = rows.get(_key(entry))
        if entry is not first[_key(entry)] or row is None or row.id not in new:
            outcome.add_repeat(entry, known.get(_key(entry)))
    if recorded:
        await _tell(session, recorded)
    return outcome


async def _tell(session: AsyncSession, recorded: Sequence[Row]) -> None:
    """Emit the recorded purchases in as few events as may be, and have their customers shown anew."""
    told = ((_event_item(row), len(json_text(row.lines)) + ENVELOPE_BYTES) for row in recorded)
    await outbox.emit_all(session, [PurchaseRecorded(items=tuple(part)) for part in in_events(told)])
    await sections.mark(session, sorted({row.customer_id for row in recorded}))


def _key(entry: Entry[PurchaseIn]) -> Key:
    return entry.item.source, entry.item.source_id


def _row(item: PurchaseIn, customer_id: UUID) -> Row:
    return Row(
        id=new_id(),
        customer_id=customer_id,
        source=item.source,
        source_id=item.source_id,
        currency=item.currency,
        amount=item.amount,
        lines=[line.model_dump() for line in item.lines],
        touchpoint=item.touchpoint,
        channel=item.channel,
        occurred_at=item.occurred_at,
    )


def _event_item(row: Row) -> handles.Purchase:
    return handles.Purchase(
        purchase_id=row.id,
        customer_id=row.customer_id,
        source=row.source,
        source_id=row.source_id,
        amount=row.amount,
        currency=row.currency,
        lines=tuple(handles.LineItem(**line) for line in row.lines),
        touchpoint=row.touchpoint,
        channel=row.channel,
        occurred_at=row.occurred_at,
    )
