"""The loyalty service's assembly."""

from fastapi import FastAPI

from services.loyalty.coupons import service as coupon_service
from services.loyalty.coupons.routes import router as coupons
from services.loyalty.earning.routes import router as earning
from services.loyalty.ledger.routes import router as ledger
from services.loyalty.reactions import make_reactions
from services.loyalty.rewards.routes import router as rewards
from services.loyalty.rewards.spending import router as spending
from services.loyalty.section import SECTION
from services.loyalty.settings import LoyaltySettings
from shared.messaging.bus import Bus
from shared.web.app import create_service_app


def create_app(settings: LoyaltySettings | None = None, bus: Bus | None = None) -> FastAPI:
    """The loyalty service: what customers have earned and spent."""
    settings = settings or LoyaltySettings()
    return create_service_app(
        settings,
        title="Customer 360: loyalty",
        routers=[spending, rewards, coupons, ledger, earning],  # the hot path is looked for first
        reactions=[make_reactions(settings)],
        section=SECTION,
        jobs=coupon_service.JOBS,
        bus=bus,
    )
