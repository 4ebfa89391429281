"""What loyalty does when something happens elsewhere."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.challenges import service as challenging
from services.loyalty.challenges import store as challenges
from services.loyalty.coupons import store as coupons
from services.loyalty.earning import birthdays, forgotten, service
from services.loyalty.earning import store as deeds
from services.loyalty.earning.deeds import of_event
from services.loyalty.earning.rules import Deed
from services.loyalty.ledger import merging
from services.loyalty.ledger.family import family_of
from services.loyalty.referrals import service as friends
from services.loyalty.referrals import store as referrals
from services.loyalty.rewards import store as rewards
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tiers import store as standings
from shared.clock import utc_now
from shared.contracts import Event
from shared.contracts.erasure import ErasureCompleted
from shared.contracts.feedback import SurveyAnswered, TicketLinked, TicketResolved
from shared.contracts.handles import Refund
from shared.contracts.profile import (
    ActivityRecorded,
    CustomerErased,
    CustomerMerged,
    CustomerRegistered,
    CustomerUnmerged,
    CustomerUpdated,
    PurchaseRecorded,
    PurchaseRefunded,
)
from shared.database import raw
from shared.ids import new_id
from shared.messaging.outbox import emit
from shared.messaging.reactions import Reactions


def make_reactions(settings: LoyaltySettings) -> Reactions:
    """The reactions of `loyalty.reactions`."""
    reactions = Reactions("loyalty.reactions")

    @reactions.on_batch(
        CustomerRegistered,
        CustomerUpdated,
        PurchaseRecorded,
        PurchaseRefunded,
        ActivityRecorded,
        SurveyAnswered,
        TicketLinked,
        TicketResolved,
    )
    async def on_what_customers_did(session: AsyncSession, events: Sequence[Event[Any]]) -> None:
        """Whatever may earn is counted; refunds take back.

        All together, because they lock the same accounts and all locks are taken in one order.
        """
        heard = _Heard.of(events)
        if not (heard.done or heard.refunds or heard.attributes):
            return  # most tickets are linked long before they earn anything
        connection, customers = await raw(session), heard.customers()
        gone = await forgotten.among(connection, customers)
        heard = heard.without(gone)
        running = await challenges.enabled(connection)
        watched = frozenset(challenge.kind for challenge in running)
        fresh = await service.count(connection, settings, heard.done, heard.refunds, watched)
        await challenging.follow(session, settings, running, fresh)
        await birthdays.note(connection, heard.attributes)
        await friends.wake(connection, fresh, heard.refunds)
        if await forgotten.among(connection, customers - gone):
            raise forgotten.ForgottenMeanwhile

    @reactions.on(CustomerMerged)
    async def on_merged(session: AsyncSession, event: Event[CustomerMerged]) -> None:
        """All points move to the survivor, what is owed is set against them; challenges are met together."""
        connection, merge = await raw(session), event.data
        if gone := await forgotten.among(connection, [merge.survivor_id, merge.merged_id]):
            if merge.survivor_id in gone:  # who was merged into them is erased with them
                await forget(session, merge.merged_id)
            return
        await merging.merge(connection, merge.merge_id, merge.survivor_id, merge.merged_id, event.id)
        await service.regroup(connection, settings, [merge.survivor_id, merge.merged_id])
        await friends.regroup(connection, [merge.survivor_id, merge.merged_id])
        await challenging.regroup(session, settings, [merge.survivor_id, merge.merged_id])

    @reactions.on(CustomerUnmerged)
    async def on_unmerged(session: AsyncSession, event: Event[CustomerUnmerged]) -> None:
        """What is left of the points that the merged one brought goes back."""
        connection, merge = await raw(session), event.data
        if await forgotten.among(connection, [merge.survivor_id, merge.merged_id]):
            return
        await merging.unmerge(connection, merge.merge_id, merge.survivor_id, merge.merged_id, event.id)
        await service.regroup(connection, settings, [merge.survivor_id, merge.merged_id])
        await friends.regroup(connection, [merge.survivor_id, merge.merged_id])
        await challenging.regroup(session, settings, [merge.survivor_id, merge.merged_id])

    @reactions.on(CustomerErased)
    async def on_erased(session: AsyncSession, event: Event[CustomerErased]) -> None:
        """The customer's id leaves; the sums stay."""
        counts = await forget(session, event.data.customer_id)
        await emit(
            session, ErasureCompleted(erasure_id=event.data.erasure_id, service="loyalty", counts=counts)
        )

    return reactions


async def forget(session: AsyncSession, customer_id: UUID) -> dict[str, int]:
    """Forget a customer and all who are one with them; returns how much there was of what."""
    customer, pseudonym = await family_of(session, customer_id), new_id()
    connection = await raw(session)
    await forgotten.remember(connection, customer.members)
    counts = {
        "redemptions": await rewards.forget(session, customer, pseudonym),
        "coupons": await coupons.forget(session, customer, pseudonym, utc_now()),
        "deeds": await deeds.forget(connection, customer.members, pseudonym),
    }
    await standings.forget(connection, customer.members)
    counts["referrals"] = await referrals.forget(connection, customer.members)
    counts["badges"] = await challenges.forget(connection, customer.members)
    # The accounts come last: they know who is one.
    counts["accounts"] = await merging.forget(connection, customer.survivor)
    return counts


@dataclass(frozen=True, slots=True)
class _Heard:
    """What events tell of customers; each refund with the event that told it."""

    done: list[Deed]
    refunds: list[tuple[Refund, UUID]]
    attributes: dict[UUID, dict[str, Any]]

    @classmethod
    def of(cls, events: Sequence[Event[Any]]) -> Self:
        now = utc_now()
        heard = cls([deed for event in events for deed in of_event(event, now)], [], {})
        for event in events:
            match event.data:
                case PurchaseRefunded(items=refunded):
                    heard.refunds.extend((refund, event.id) for refund in refunded)
                case (
                    CustomerRegistered(customer_id=who, attributes=values)
                    | CustomerUpdated(customer_id=who, attributes=values)
                ):
                    heard.attributes[who] = heard.attributes.get(who, {}) | values
        return heard

    def customers(self) -> set[UUID]:
        done = (deed.customer_id for deed in self.done)
        return {*done, *(refund.customer_id for refund, _ in self.refunds), *self.attributes}

    def without(self, gone: Collection[UUID]) -> Self:
        if not gone:
            return self
        return replace(
            self,
            done=[deed for deed in self.done if deed.customer_id not in gone],
            refunds=[told for told in self.refunds if told[0].customer_id not in gone],
            attributes={who: values for who, values in self.attributes.items() if who not in gone},
        )
