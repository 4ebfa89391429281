"""The profile service's assembly."""

from fastapi import FastAPI

from services.profile.activities.routes import router as activities
from services.profile.consents.routes import router as consents
from services.profile.customers.routes import router as customers
from services.profile.purchases.routes import router as purchases
from services.profile.reactions import make_reactions
from services.profile.section import SECTION
from services.profile.settings import ProfileSettings
from shared.messaging.bus import Bus
from shared.web.app import create_service_app


def create_app(settings: ProfileSettings | None = None, bus: Bus | None = None) -> FastAPI:
    """The profile service: customers, what they agreed to and what they did."""
    settings = settings or ProfileSettings()
    return create_service_app(
        settings,
        title="Customer 360: profile",
        routers=[customers, consents, activities, purchases],
        reactions=[make_reactions(settings)],
        section=SECTION,
        bus=bus,
    )
