"""The loyalty service's assembly."""

from fastapi import FastAPI

from services.loyalty.challenges.routes import router as challenges
from services.loyalty.coupons import service as coupon_service
from services.loyalty.coupons.routes import router as coupons
from services.loyalty.earning.routes import router as earning
from services.loyalty.earning.rule_routes import router as earning_rules
from services.loyalty.earning.tier_routes import router as tier_changes
from services.loyalty.effect.routes import router as effect
from services.loyalty.jobs import make_jobs
from services.loyalty.ledger.hold_routes import router as holds
from services.loyalty.ledger.routes import router as ledger
from services.loyalty.partners import service as partner_service
from services.loyalty.partners.routes import router as partners
from services.loyalty.reactions import make_reactions
from services.loyalty.referrals.routes import router as referrals
from services.loyalty.rewards.routes import router as rewards
from services.loyalty.rewards.spending import router as spending
from services.loyalty.section import SECTION
from services.loyalty.settings import LoyaltySettings
from services.loyalty.tiers.routes import router as tiers
from shared.messaging.bus import Bus
from shared.web.app import create_service_app

PROGRAMME = (earning_rules, tiers, tier_changes, referrals, challenges)


def create_app(settings: LoyaltySettings | None = None, bus: Bus | None = None) -> FastAPI:
    """The loyalty service: what customers have earned and spent."""
    settings = settings or LoyaltySettings()
    return create_service_app(
        settings,
        title="Customer 360: loyalty",
        # The hot path is looked for first.
        routers=[spending, rewards, coupons, partners, effect, holds, ledger, earning, *PROGRAMME],
        reactions=[make_reactions(settings)],
        section=SECTION,
        jobs=[*coupon_service.JOBS, *partner_service.JOBS, *make_jobs(settings)],
        bus=bus,
    )
