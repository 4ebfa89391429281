"""Settings of the profile service, prefix C360_PROFILE_."""

from typing import Annotated, ClassVar

from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings

BLOCKED_EMAILS = (
    *("test@", "none@", "null@", "na@", "noemail@", "no-email@", "noreply@", "no-reply@", "donotreply@"),
    *("unknown@", "anonymous@"),
)
BLOCKED_EXTERNAL_IDS = (
    *("null", "none", "nil", "undefined", "nan", "n/a", "na", "-"),
    *("unknown", "anonymous", "guest", "test"),
)

Trust = Annotated[int, Field(ge=0, le=100)]


def _known_region(region: str) -> str:
    if region not in SUPPORTED_REGIONS:
        raise ValueError("a region is a country code of two letters, such as CN or GB")
    return region


class ProfileSettings(ServiceSettings):
    """What the profile service needs to know."""

    model_config = SettingsConfigDict(env_prefix="C360_PROFILE_")

    name: ClassVar[str] = "profile"

    default_region: Annotated[str, AfterValidator(_known_region)] = Field(
        "CN", description="Where a phone number without a country code is from."
    )
    blocked_emails: frozenset[str] = Field(
        frozenset(BLOCKED_EMAILS),
        description="Addresses that name nobody: `local@`, `@domain` or a whole address.",
    )
    blocked_phones: frozenset[str] = Field(
        frozenset(), description="Numbers that name nobody, in E.164; repeated digits are blocked anyway."
    )
    blocked_external_ids: frozenset[str] = Field(
        frozenset(BLOCKED_EXTERNAL_IDS),
        description="Ids that name nobody, in lower case; rows of zeros are blocked anyway.",
    )
    max_emails: int = Field(10, ge=1, le=100, description="Per customer, so that a kiosk glues nobody.")
    max_phones: int = Field(10, ge=1, le=100)
    max_external_ids: int = Field(50, ge=1, le=1000)

    source_trust: dict[str, Trust] = Field(
        {"ticket": 20, "resolve": 30}, description="0 to 100 per source of attributes; the most trusted wins."
    )
    default_trust: Trust = Field(50, description="Trust in a source that is not listed.")
    max_attributes: int = Field(200, ge=1, le=1000, description="Names per customer.")
    max_values: int = Field(30, ge=2, le=1000, description="Values kept per name; the worst leave.")
