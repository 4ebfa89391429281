"""What feedback shows of a customer in the 360 view.

The mood's span ends at the customer's newest feedback, not today, so that a rebuild at any later time gives
the same bytes. Texts and contacts stay in the ticket.
"""

from pathlib import Path
from uuid import UUID

import asyncpg

from services.feedback.settings import FeedbackSettings
from shared.messaging.sections import Section

_BUILD = Path(__file__).with_name("section.sql").read_text(encoding="utf-8")
# Indexes: tickets_of_customer, survey_answers_of_customer.
_CUSTOMERS = """
    SELECT customer_id FROM (
        (SELECT DISTINCT customer_id FROM tickets WHERE customer_id > $1 ORDER BY customer_id LIMIT $2)
        UNION
        (SELECT DISTINCT customer_id FROM survey_answers WHERE customer_id > $1 ORDER BY customer_id LIMIT $2)
    ) AS known ORDER BY customer_id LIMIT $2
"""


def section(settings: FeedbackSettings) -> Section:
    """The section `feedback`."""

    async def build(connection: asyncpg.Connection, ids: list[UUID]) -> dict[UUID, str]:
        rows = await connection.fetch(_BUILD, ids, settings.section_tickets, settings.mood_days)
        return {row["customer_id"]: row["body"] for row in rows}

    return Section("feedback", build, _CUSTOMERS)
