"""What loyalty does when something happens elsewhere."""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from services.loyalty.earning import service
from services.loyalty.ledger.store import Earning
from services.loyalty.settings import LoyaltySettings
from shared.contracts import Event
from shared.contracts.handles import Refund
from shared.contracts.profile import CustomerRegistered, PurchaseRecorded, PurchaseRefunded
from shared.database import raw
from shared.messaging.reactions import Reactions


def make_reactions(settings: LoyaltySettings) -> Reactions:
    """The reactions of `loyalty.reactions`."""
    reactions = Reactions("loyalty.reactions")

    @reactions.on_batch(CustomerRegistered, PurchaseRecorded, PurchaseRefunded)
    async def on_customers_and_purchases(
        session: AsyncSession,
        events: Sequence[Event[CustomerRegistered | PurchaseRecorded | PurchaseRefunded]],
    ) -> None:
        """A new customer gets an account and the sign-up points; purchases earn; refunds take back.

        All together, because they lock the same accounts and all locks are taken in one order.
        """
        earnings: list[Earning] = []
        refunds: list[tuple[Refund, UUID]] = []
        for event in events:
            match event.data:
                case CustomerRegistered() as registered:
                    earnings.append(service.of_sign_up(registered, event.id, settings))
                case PurchaseRecorded(items=purchases):
                    earnings += [service.of_purchase(purchase, event.id, settings) for purchase in purchases]
                case PurchaseRefunded(items=refunded):
                    refunds += [(refund, event.id) for refund in refunded]
        await service.apply(await raw(session), settings, earnings, refunds)

    return reactions
