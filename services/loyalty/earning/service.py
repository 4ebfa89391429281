"""Earning: what events and operators bring, posted to the ledger and set against what is owed.

What a refund takes back is taken within the member's balance; the rest is owed and taken from the next
points that come in. So the end is the same whichever came first, the refund, its purchase or the spending.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

import asyncpg

from services.loyalty.earning import rules, store
from services.loyalty.ledger import store as ledger
from services.loyalty.ledger.store import Cause, Earning, Key
from services.loyalty.settings import LoyaltySettings
from shared.contracts.handles import Purchase, Refund
from shared.contracts.profile import CustomerRegistered
from shared.telemetry import logger

ACTOR = "reactions"
CHUNK = 2000  # earnings in one statement

_log = logger(part="earning")


def of_purchase(purchase: Purchase, event_id: UUID, settings: LoyaltySettings) -> Earning:
    """What a purchase earns, by the default rule."""
    earned = rules.for_purchase(
        purchase.amount,
        purchase.currency,
        rate=settings.rates.get(purchase.currency, settings.rate),
        limit=settings.purchase_points_limit,
    )
    return Earning(
        customer_id=purchase.customer_id,
        points=earned.points,
        key=f"{store.PURCHASE}{purchase.purchase_id}",
        cause=Cause(
            reason=f"Purchase {purchase.source_id} at {purchase.source}",
            actor=ACTOR,
            occurred_at=purchase.occurred_at,
            rule=earned.rule,
            arithmetic=earned.arithmetic,
            event_id=event_id,
        ),
        expires_at=rules.expiry(purchase.occurred_at, settings.points_days),
    )


def of_sign_up(registered: CustomerRegistered, event_id: UUID, settings: LoyaltySettings) -> Earning:
    """What a new customer gets."""
    earned = rules.for_sign_up(settings.sign_up_points)
    return Earning(
        customer_id=registered.customer_id,
        points=earned.points,
        key=f"sign-up/{registered.customer_id}",
        cause=Cause(
            reason="Welcome",
            actor=ACTOR,
            occurred_at=registered.registered_at,
            rule=earned.rule,
            arithmetic=earned.arithmetic,
            event_id=event_id,
        ),
        expires_at=rules.expiry(registered.registered_at, settings.sign_up_days),
    )


async def apply(
    connection: asyncpg.Connection,
    settings: LoyaltySettings,
    earnings: Sequence[Earning],
    refunds: Sequence[tuple[Refund, UUID]],
) -> None:
    """Post earnings and refunds of many members, in one transaction and in any order of arrival.

    All accounts are opened and locked first, so two of these, or a refund and its purchase that are heard
    of at the same moment, go one after the other and the later one sees what the first wrote.
    """
    members = {earning.customer_id for earning in earnings} | {refund.customer_id for refund, _ in refunds}
    await ledger.lock_members(connection, list(members))
    worth = sorted((e for e in earnings if e.points > 0), key=lambda e: (e.cause.occurred_at, e.key))
    for start in range(0, len(worth), CHUNK):
        chunk = worth[start : start + CHUNK]
        refused = await ledger.post_earnings(connection, chunk, ACTOR, settings.cost_per_point)
        if refused:
            _log.error(
                "earnings refused: the balance would become too large", keys=refused[:10], count=len(refused)
            )
    await store.keep_refunds(connection, refunds)
    await settle(connection, members)


async def settle(connection: asyncpg.Connection, customer_ids: Iterable[UUID]) -> None:
    """Take back what refunds of these members have due, within their balance; the rest is written as owed.

    To be called, in the same transaction, after anything that gives points to a member.
    """
    owed: dict[UUID, int] = {}
    for purchase in await store.refunded_purchases(connection, sorted(set(customer_ids))):
        due = rules.due_back(purchase.figures)
        if due > 0:
            due -= await _take_back(connection, purchase, due)
        owed[purchase.customer_id] = owed.get(purchase.customer_id, 0) + due
    if owed:
        await store.owe(connection, owed)


async def _take_back(connection: asyncpg.Connection, purchase: store.RefundedPurchase, due: int) -> int:
    """Take up to `due` points back; returns how many there were."""
    taken_before = purchase.figures.taken
    cause = Cause(
        reason="Refund",
        actor=ACTOR,
        occurred_at=purchase.occurred_at,
        rule="refund",
        arithmetic=rules.due_back_arithmetic(purchase.figures),
        event_id=purchase.event_id,
    )
    # The key holds where this step of the chain begins, so a repeat is the same step.
    key = Key(f"refund/{purchase.purchase_id}/{taken_before}", purchase.purchase_id.bytes)
    posted = await ledger.take_back(connection, purchase.transfer_id, due, cause, key)
    return posted.points if posted else 0
