"""Settings that every service has. All come from the environment and have a bound and a unit."""

from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _shared(name: str) -> AliasChoices:
    """The name of a setting that all services read from the same variable."""
    return AliasChoices(name, f"C360_{name.upper()}")


class ServiceSettings(BaseSettings):
    """Plumbing of one service. Subclasses set `name` and the prefix `C360_<NAME>_` of their own settings."""

    model_config = SettingsConfigDict(populate_by_name=True, extra="ignore", validate_default=True)

    name: ClassVar[str]

    database_url: str = Field(
        "postgresql://postgres@localhost:5432/",
        validation_alias=_shared("database_url"),
        description="The Postgres server; each service uses its own database c360_<name> there.",
    )
    database_name: str | None = Field(None, description="Overrides c360_<name>.")
    amqp_url: str | None = Field(
        None, validation_alias=_shared("amqp_url"), description="RabbitMQ; local delivery when unset."
    )
    amqp_prefix: str = Field(
        "c360",
        validation_alias=_shared("amqp_prefix"),
        description="Prefix of the exchange's and queues' names; lets systems share a broker.",
    )
    internal_secret: SecretStr = Field(
        validation_alias=_shared("internal_secret"),
        min_length=32,
        description="Signs the short-lived tokens that the gateway gives to the services.",
    )
    log_level: str = Field("INFO", validation_alias=_shared("log_level"))

    session_pool_size: int = Field(5, ge=1, le=100, validation_alias=_shared("session_pool_size"))
    statement_pool_size: int = Field(8, ge=1, le=100, validation_alias=_shared("statement_pool_size"))
    statement_timeout_ms: int = Field(30_000, ge=100, validation_alias=_shared("statement_timeout_ms"))
    connect_timeout_s: float = Field(5.0, gt=0, validation_alias=_shared("connect_timeout_s"))
    body_limit_bytes: int = Field(8 * 1024 * 1024, ge=1024, validation_alias=_shared("body_limit_bytes"))
    shutdown_s: float = Field(10.0, gt=0, validation_alias=_shared("shutdown_s"))

    relay_batch: int = Field(200, ge=1, le=1000, validation_alias=_shared("relay_batch"))
    relay_rest_s: float = Field(0.01, ge=0, le=1, validation_alias=_shared("relay_rest_s"))
    relay_poll_s: float = Field(1.0, gt=0, validation_alias=_shared("relay_poll_s"))
    consumer_batch: int = Field(200, ge=1, le=1000, validation_alias=_shared("consumer_batch"))
    reaction_attempts: int = Field(5, ge=1, le=20, validation_alias=_shared("reaction_attempts"))
    retry_base_s: float = Field(
        1.0, gt=0, validation_alias=_shared("retry_base_s"), description="First retry delay; grows fourfold."
    )
    inbox_days: int = Field(30, ge=1, le=365, validation_alias=_shared("inbox_days"))
    idempotency_hours: int = Field(48, ge=24, validation_alias=_shared("idempotency_hours"))

    @property
    def database(self) -> str:
        """The name of this service's database."""
        return self.database_name or f"c360_{self.name}"

    @property
    def dsn(self) -> str:
        """The asyncpg URL of this service's own database."""
        return with_database(self.database_url, self.database)


def with_database(server_url: str, database: str) -> str:
    """The URL of one database on a Postgres server; the query (host=/socket/dir and such) stays."""
    scheme, netloc, _, query, _ = urlsplit(server_url)
    rest = urlunsplit(("", "", "", query, ""))
    return f"{scheme.split('+')[0]}://{netloc}/{database}{rest}"
