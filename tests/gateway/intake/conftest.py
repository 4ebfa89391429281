"""A running gateway and a partner that signs with the official library."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from fastapi import FastAPI
from standardwebhooks.webhooks import Webhook

from gateway.app import create_app
from tests.gateway.edge.conftest import StartGateway, gateway, operator, start_gateway
from tests.gateway.edge.doors import caller

__all__ = ["Partner", "StartGateway", "gateway", "operator", "partner", "start_gateway"]


@dataclass
class Partner:
    """A shop that sends feedback."""

    app: FastAPI
    name: str
    secret: str

    async def send(
        self, body: Any, msg_id: str | None = None, *, secret: str | None = None, **headers: str
    ) -> httpx.Response:
        """Sign and send; a body that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        msg_id = msg_id or f"msg_{uuid4().hex}"
        moment = datetime.now(UTC)
        signed = {
            "webhook-id": msg_id,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": Webhook(secret or self.secret).sign(msg_id, moment, content.decode()),
        }
        async with caller(self.app, None) as client:
            return await client.post(f"/webhooks/{self.name}", content=content, headers=signed | headers)


@pytest.fixture
async def twin_gateway(gateway: FastAPI) -> AsyncIterator[FastAPI]:
    """A second gateway on the same database."""
    app = create_app(gateway.state.settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def partner(gateway: FastAPI, operator: httpx.AsyncClient) -> Partner:
    answer = await operator.post("/v1/admin/partners", json={"name": "taobao", "scheme": "standard-webhooks"})
    assert answer.status_code == 201
    return Partner(gateway, "taobao", answer.json()["secret"])
