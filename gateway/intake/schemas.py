"""What the intake's routes take and give."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.web.schemas import Schema

PartnerName = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Part of the webhook's address.")
]


class NewPartner(Schema):
    """A partner to admit."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "taobao", "scheme": "standard-webhooks"}]}
    )

    name: PartnerName
    scheme: Literal["standard-webhooks"] = "standard-webhooks"


class PartnerView(BaseModel):
    """A partner; its webhooks go to /webhooks/{name}."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    scheme: str
    created_at: datetime
    disabled_at: datetime | None


class PartnerSecretView(BaseModel):
    """A secret just made: the only time that it is shown. The one before may verify a while longer."""

    name: str
    scheme: str
    secret: str
    old_secret_until: datetime | None = None


class Accepted(BaseModel):
    """What a webhook became. `duplicate`: this webhook id was here before, as this receipt."""

    receipt_id: UUID
    status: Literal["accepted", "duplicate", "quarantined"]


class ReceiptView(BaseModel):
    """A webhook that was verified. `body` only while it is quarantined, and for callers with pii:read."""

    receipt_id: UUID
    partner: str
    webhook_id: str
    status: Literal["accepted", "quarantined"]
    reason: str | None
    received_at: datetime
    mended_at: datetime | None
    body: str | None = None


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON Schema without references, for a body that FastAPI does not describe itself."""
    schema = model.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                node = definitions[node["$ref"].rsplit("/", 1)[1]] | {k: node[k] for k in node if k != "$ref"}
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    found: dict[str, Any] = resolve(schema)
    return found
