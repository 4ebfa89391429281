"""Settings of the gateway. Prefix C360_GATEWAY_, but for the few that stand for the whole system."""

from pathlib import Path
from typing import ClassVar

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

import shared.contracts
from shared.settings import ServiceSettings

PUBLISHED = Path(shared.contracts.__file__).with_name("published")


class GatewaySettings(ServiceSettings):
    """What the gateway needs to know. Every limit has its unit in its name."""

    model_config = SettingsConfigDict(env_prefix="C360_GATEWAY_")

    name: ClassVar[str] = "gateway"

    bootstrap_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("bootstrap_key", "C360_BOOTSTRAP_KEY"),
        description="A known first operator key; when unset, one is made at the first start and shown once.",
    )
    webhook_secret_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("webhook_secret_key", "C360_WEBHOOK_SECRET_KEY"),
        min_length=32,
        description="Encrypts partners' webhook secrets at rest; several, newest first, comma-separated.",
    )
    published: Path = Field(PUBLISHED, description="The folder of openapi.json and asyncapi.json.")

    profile_url: str = Field("http://127.0.0.1:8001", description="Where the profile service answers.")
    feedback_url: str = "http://127.0.0.1:8002"
    loyalty_url: str = "http://127.0.0.1:8003"
    scoring_url: str = "http://127.0.0.1:8004"

    key_cache_s: float = Field(5.0, ge=0, le=60, description="How long a revoked key may work elsewhere.")
    key_cache_size: int = Field(10_000, ge=1)
    key_used_every_s: float = Field(30.0, gt=0, description="How often last uses are written down.")
    token_s: int = Field(60, ge=10, le=600, description="Life of an internal token.")
    token_cache_s: float = Field(30.0, ge=0)

    rate_read: str = Field("20000/10", description="Requests / seconds per key: GET and HEAD.")
    rate_write: str = Field("10000/10", description="Requests / seconds per key: changes of one thing.")
    rate_bulk: str = Field("1000/10", description="Requests / seconds per key: batches, imports, fits.")
    rate_intake: str = Field("20000/10", description="Verified webhooks / seconds per partner.")
    rate_keys_tracked: int = Field(20_000, ge=1, description="Buckets kept in memory.")
    concurrent_requests: int = Field(512, ge=1, description="Beyond this: 503; streams excepted.")

    forward_timeout_s: float = Field(15.0, gt=0, description="To the first byte of a service's answer.")
    forward_bulk_timeout_s: float = Field(120.0, gt=0, description="The same for batches, imports and fits.")
    forward_connect_timeout_s: float = Field(2.0, gt=0)
    forward_attempts: int = Field(2, ge=1, le=5, description="Tries in all, where a repeat is safe.")
    forward_concurrent: int = Field(128, ge=1, description="Requests under way per service.")
    breaker_failures: int = Field(5, ge=1, description="Failures in a row that open a service's breaker.")
    breaker_open_s: float = Field(2.0, gt=0, description="How long an open breaker refuses before one probe.")

    fresh_timeout_s: float = Field(1.0, gt=0, description="For one service's part of a `fresh=true` view.")
    streams: int = Field(2_000, ge=1, description="Open streams per process; beyond it 503.")
    stream_queue: int = Field(128, ge=8, description="Changes waiting to be sent, per stream.")
    stream_stall_s: float = Field(10.0, gt=0, description="Time without taking anything, then dropped.")
    stream_heartbeat_s: float = Field(15.0, gt=0)
    stream_life_s: float = Field(3_600.0, gt=0, description="Then it ends and comes back with its key.")

    webhook_body_limit_bytes: int = Field(256 * 1024, ge=1024)
    partner_cache_s: float = Field(5.0, ge=0, le=60)
    partner_cache_size: int = Field(1_000, ge=1)
    secret_overlap_hours: int = Field(24, ge=0, le=720, description="How long a rotated one still verifies.")
    receipt_days: int = Field(30, ge=30, description="How long a repeat of a webhook is recognised.")
    quarantine_days: int = Field(180, ge=30, description="How long quarantined bodies are kept.")

    @field_validator("rate_read", "rate_write", "rate_bulk", "rate_intake")
    @classmethod
    def _is_rate(cls, value: str) -> str:
        count, _, window_s = value.partition("/")
        if not (count.isdecimal() and window_s.isdecimal() and int(count) and int(window_s)):
            raise ValueError("a rate is written REQUESTS/SECONDS, such as 100/10")
        return value

    @property
    def upstream_urls(self) -> dict[str, str]:
        """Base URL of each service."""
        return {
            "profile": self.profile_url,
            "feedback": self.feedback_url,
            "loyalty": self.loyalty_url,
            "scoring": self.scoring_url,
        }
