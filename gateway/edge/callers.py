"""Who calls: keys looked up once and remembered for seconds, with the internal token each is given."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from gateway.edge import store
from gateway.edge.keys import digest
from gateway.settings import GatewaySettings
from shared.clock import utc_now
from shared.database import is_away
from shared.problems import Unauthenticated
from shared.web.security import Caller, sign

LOOK_AGAIN_S = 1.0
STALE_WHEN_AWAY_S = 60.0
UNKNOWN = "The key is missing, unknown, expired or revoked. Send it as Authorization: Bearer or X-API-Key."


@dataclass(slots=True)
class KnownKey:
    """A key that was found, as long as it is remembered."""

    id: UUID
    caller: Caller
    partner: str | None
    expires_at: datetime | None
    found_at: float
    fresh_until: float
    token: str = ""
    token_until: float = 0.0


class Callers:
    """The keys used lately; bounded, and never older than `key_cache_s` while the database answers."""

    def __init__(self, settings: GatewaySettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._secret = settings.internal_secret.get_secret_value()
        self._clock = clock
        self._known: OrderedDict[bytes, KnownKey] = OrderedDict()
        self._used: dict[UUID, datetime] = {}

    async def identify(self, pool: asyncpg.Pool, key: bytes | None) -> KnownKey:
        """The key's owner.

        Raises:
            Unauthenticated: no key, or one that does not count.
        """
        if key is None:
            raise Unauthenticated(UNKNOWN)
        key_hash = digest(key)
        known = self._known.get(key_hash)
        now = self._clock()
        if known is None or known.fresh_until <= now:
            known = await self._look_up(pool, key_hash, known, now)
        moment = utc_now()
        if known.expires_at is not None and known.expires_at <= moment:
            raise Unauthenticated(UNKNOWN)
        self._used[known.id] = moment
        return known

    def token(self, known: KnownKey) -> str:
        """The internal token of a caller, signed anew when the one at hand is half used up."""
        now = self._clock()
        if known.token_until <= now:
            known.token = sign(
                self._secret,
                subject=known.caller.id,
                scopes=sorted(known.caller.scopes),
                lifetime_s=self._settings.token_s,
            )
            known.token_until = now + min(self._settings.token_cache_s, self._settings.token_s / 2)
        return known.token

    def revoked(self, key_hash: bytes) -> None:
        """Look this key up again at its next use."""
        self._known.pop(key_hash, None)

    async def note_used(self, pool: asyncpg.Pool) -> None:
        """Write down the last uses since the last call; kept for the next one when the database is away."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await store.note_used(pool, used)
        except BaseException:
            self._used = used | self._used
            raise

    async def _look_up(
        self, pool: asyncpg.Pool, key_hash: bytes, known: KnownKey | None, now: float
    ) -> KnownKey:
        if known is not None:
            known.fresh_until = now + LOOK_AGAIN_S  # one request looks, the others go on meanwhile
        try:
            row = await store.find(pool, key_hash)
        except Exception as error:
            # While our database is away nobody can have revoked it here.
            if known is not None and is_away(error) and now - known.found_at < STALE_WHEN_AWAY_S:
                return known
            raise
        if row is None:
            self._known.pop(key_hash, None)
            raise Unauthenticated(UNKNOWN)
        found = KnownKey(
            id=row["id"],
            caller=Caller(f"key:{row['id']}", frozenset(row["scopes"])),
            partner=row["partner"],
            expires_at=row["expires_at"],
            found_at=now,
            fresh_until=now + self._settings.key_cache_s,
        )
        self._known[key_hash] = found
        self._known.move_to_end(key_hash)
        if len(self._known) > self._settings.key_cache_size:
            self._known.popitem(last=False)
        return found
