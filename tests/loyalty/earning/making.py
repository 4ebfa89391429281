"""Rules, deeds and programmes for tests, with the parts that a test does not care about filled in."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.loyalty.earning.replay import Programme
from services.loyalty.earning.rules import Deed, Rule, Terms, in_order
from services.loyalty.tiers.rules import BEGINNING, Ladder, Tier, TierTable

START = datetime(2026, 1, 1, 10, tzinfo=UTC)
MEMBER = UUID(int=7)
TERMS = Terms("CNY", {"JPY": Decimal("0.05")}, 10**9)
TIERS = TierTable(
    1,
    BEGINNING,
    (
        Tier("regular", 0, Decimal(1), {}),
        Tier("silver", 500_000, Decimal("1.25"), {}),
        Tier("gold", 2_000_000, Decimal("1.5"), {}),
        Tier("platinum", 5_000_000, Decimal(2), {}),
    ),
)
LADDER = Ladder((TIERS,), "rolling", timedelta(days=30))
BASE: dict[str, Any] = {"starts_at": BEGINNING, "ends_at": None, "made_at": BEGINNING}


def a_rule(name: str = "purchase", **said: Any) -> Rule:
    """An enabled rule since ever; one point for each major unit if nothing else is said."""
    if not {"rate", "points", "multiplier"} & said.keys():
        said["rate"] = Decimal(1)
    return Rule(name, 1, said.pop("kind", "purchase"), **(BASE | said))


def a_purchase(amount: int, number: int = 1, *, at: datetime = START, **said: Any) -> Deed:
    """A purchase of the member in the programme's currency."""
    said.setdefault("currency", "CNY")
    said.setdefault("kind", "purchase")
    return Deed(UUID(int=number), said.pop("kind"), MEMBER, at, START, "a purchase", amount=amount, **said)


def a_programme(*rules: Rule, ladder: Ladder = LADDER) -> Programme:
    """The rules on the default tiers."""
    return Programme(in_order(rules), ladder, TERMS)
