"""What the profile does when something happens elsewhere."""

from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from services.profile.attributes.rules import NAME
from services.profile.customers.schemas import MAX_NAME
from services.profile.customers.service import Ask, Observation, policy_of, resolve_all
from services.profile.identities.rules import Claim, Identity, Policy, UnfitIdentity, claim
from services.profile.settings import ProfileSettings
from shared.contracts import Event
from shared.contracts.feedback import TicketOpened
from shared.contracts.handles import Handle
from shared.contracts.profile import IdentityResolved, Reference
from shared.messaging import outbox
from shared.messaging.reactions import Reactions

TICKET = "ticket"


def make_reactions(settings: ProfileSettings) -> Reactions:
    """The reactions of `profile.reactions`."""
    reactions = Reactions("profile.reactions")

    @reactions.on_batch(TicketOpened)
    async def on_ticket_opened(session: AsyncSession, events: Sequence[Event[TicketOpened]]) -> None:
        """Say whose tickets these are, when they came with handles instead of a customer."""
        policy = policy_of(settings)
        tickets = [event.data for event in events if event.data.customer_id is None]
        asks = [Ask(_claims(ticket.contact, policy), _said(ticket)) for ticket in tickets]
        answers = await resolve_all(session, asks, settings)
        await outbox.emit_all(
            session,
            [
                IdentityResolved(
                    ref=Reference(kind=TICKET, id=ticket.ticket_id),
                    handles=tuple(_handle(wanted.identity) for wanted in ask.claims),
                    customer_id=answer.customer_id,
                    rule=answer.rule,
                    confidence=answer.confidence,
                )
                for ticket, ask, answer in zip(tickets, asks, answers, strict=True)
                if answer is not None
            ],
        )

    return reactions


def _claims(contact: Sequence[Handle], policy: Policy) -> list[Claim]:
    """The handles that fit, each once; a handle that names nobody leads nowhere and stops nothing."""
    claims: dict[Identity, Claim] = {}
    for handle in contact:
        try:
            wanted = claim(handle.kind, handle.value, handle.source, policy, verified=False)
        except UnfitIdentity:
            continue
        claims.setdefault(wanted.identity, wanted)
    return list(claims.values())


def _said(ticket: TicketOpened) -> Observation | None:
    name = " ".join((ticket.contact_name or "").split())[:MAX_NAME]
    return Observation({NAME: name}, TICKET, ticket.occurred_at) if name else None


def _handle(identity: Identity) -> Handle:
    return Handle(kind=identity.kind, value=identity.value, source=identity.source)
