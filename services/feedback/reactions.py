"""What feedback does when something happens elsewhere."""

from sqlmodel.ext.asyncio.session import AsyncSession

from services.feedback.settings import FeedbackSettings
from services.feedback.tickets.opening import Opening, open_tickets
from services.feedback.tickets.rules import known_kind
from services.feedback.tickets.service import Resolution, link_tickets
from services.feedback.times import happened_at
from shared.clock import utc_now
from shared.contracts import Event
from shared.contracts.gateway import FeedbackReceived
from shared.contracts.profile import IdentityResolved
from shared.messaging.reactions import Reactions


def reactions(settings: FeedbackSettings) -> Reactions:
    """The reactions of the group `feedback.reactions`."""
    group = Reactions("feedback.reactions")

    @group.on_batch(FeedbackReceived)
    async def on_feedback_received(session: AsyncSession, events: list[Event[FeedbackReceived]]) -> None:
        """A partner's feedback becomes a ticket."""
        openings = [_opening(event) for event in events]
        await open_tickets(session, openings, now=utc_now(), reopen_within=settings.reopen_within)

    @group.on_batch(IdentityResolved)
    async def on_identity_resolved(session: AsyncSession, events: list[Event[IdentityResolved]]) -> None:
        """The ticket's customer is known."""
        await link_tickets(session, [_resolution(e) for e in events if e.data.ref.kind == "ticket"])

    return group


def _opening(event: Event[FeedbackReceived]) -> Opening:
    said = event.data
    return Opening(
        kind=known_kind(said.kind),
        channel=said.channel,
        text=said.text,
        occurred_at=happened_at(said.occurred_at, event.time),
        actor=f"partner:{said.partner}",
        rating=said.rating,
        contact=said.contact,
        contact_name=said.contact_name,
        partner=said.partner,
        source_id=said.source_id,
        receipt_id=said.receipt_id,
    )


def _resolution(event: Event[IdentityResolved]) -> Resolution:
    found = event.data
    return Resolution(
        ticket_id=found.ref.id,
        customer_id=found.customer_id,
        rule=found.rule,
        confidence=found.confidence,
        at=event.time,
    )
