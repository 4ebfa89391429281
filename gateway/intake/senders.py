"""Partners' secrets, opened and remembered for seconds, unknown names too; bounded."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from standardwebhooks.webhooks import Webhook

from gateway.intake import store
from gateway.intake.sealing import Vault
from gateway.settings import GatewaySettings
from shared.clock import utc_now

LOOK_AGAIN_S = 1.0
NAME_MAX_CHARS = 63


@dataclass(slots=True)
class _Sender:
    webhooks: tuple[tuple[Webhook, datetime | None], ...]
    fresh_until: float


class Senders:
    """Who may send webhooks, and with which secrets."""

    def __init__(
        self, settings: GatewaySettings, vault: Vault, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._vault = vault
        self._clock = clock
        self._known: OrderedDict[str, _Sender] = OrderedDict()

    async def webhooks(self, pool: asyncpg.Pool, partner: str) -> list[Webhook]:
        """A verifier for each secret of the partner that counts now; none when we do not know them.

        Raises:
            Unavailable: the secrets cannot be opened.
        """
        if len(partner) > NAME_MAX_CHARS or "\x00" in partner:
            return []
        known = self._known.get(partner)
        now = self._clock()
        if known is None or known.fresh_until <= now:
            if known is not None:
                known.fresh_until = now + LOOK_AGAIN_S  # one request looks, the others go on meanwhile
            known = await self._look_up(pool, partner, now)
        moment = utc_now()
        return [
            webhook for webhook, retires_at in known.webhooks if retires_at is None or retires_at > moment
        ]

    def changed(self, partner: str) -> None:
        """Look this partner up again at its next webhook."""
        self._known.pop(partner, None)

    async def _look_up(self, pool: asyncpg.Pool, partner: str, now: float) -> _Sender:
        rows = await store.live_secrets(pool, partner)
        found = tuple((Webhook(self._vault.open(row["sealed"])), row["retires_at"]) for row in rows)
        sender = self._known[partner] = _Sender(found, now + self._settings.partner_cache_s)
        self._known.move_to_end(partner)
        if len(self._known) > self._settings.partner_cache_size:
            self._known.popitem(last=False)
        return sender
