"""A partner of the gateway, for the benchmarks that send webhooks."""

from datetime import UTC, datetime
from uuid import uuid4

import aiohttp
from standardwebhooks import Webhook

from infra.bench.figures import Wrong
from infra.bench.made import WORDS
from infra.bench.processes import Server
from infra.bench.requests import http_request, json_body


class Partner:
    """Signs webhooks with the official library."""

    def __init__(self, name: str, secret: str) -> None:
        self.path = f"/webhooks/{name}"
        self._webhook = Webhook(secret)

    @classmethod
    async def admitted(cls, gateway: Server, key: str) -> "Partner":
        """A new partner of a running gateway."""
        name = f"bench-{uuid4().hex[:8]}"
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
            session.post(
                f"{gateway.url}/v1/admin/partners", json={"name": name, "scheme": "standard-webhooks"}
            ) as answer,
        ):
            if answer.status != 201:
                raise Wrong(f"no partner was admitted: {answer.status} {await answer.text()}")
            return cls(name, (await answer.json())["secret"])

    def feedback(self, number: int, email: str) -> tuple[dict[str, str], bytes]:
        """Headers and body of a webhook, signed now; no two have the same id."""
        now = datetime.now(UTC)
        body = json_body(
            {
                "type": "feedback.created",
                "timestamp": now.isoformat(),
                "data": {
                    "source_id": f"F-{uuid4().hex}",
                    "channel": "review",
                    "kind": "complaint",
                    "rating": 1 + number % 5,
                    "text": WORDS[number % len(WORDS)],
                    "contact": {"email": email},
                    "occurred_at": now.isoformat(),
                },
            }
        )
        webhook_id = f"msg_{uuid4().hex}"
        headers = {
            "Content-Type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(webhook_id, now, body.decode()),
        }
        return headers, body

    def request(self, number: int) -> bytes:
        """A whole request, from one of ten thousand contacts."""
        headers, body = self.feedback(number, f"c{number % 10_000}@example.com")
        return http_request("POST", self.path, headers=headers, body=body)
