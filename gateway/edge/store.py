"""All SQL of API keys."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway.edge.keys import ROLES, NewKey, given_key, make_key
from gateway.tables import ApiKey
from shared.ids import new_id

# By the unique index on key_hash.
_FIND = """
    SELECT id, scopes, partner, expires_at FROM api_keys
    WHERE key_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
_ADD = """
    INSERT INTO api_keys (id, prefix, key_hash, name, role, scopes, created_by)
    VALUES ($1, $2, $3, $4, 'operator', $5, 'start') ON CONFLICT (key_hash) DO NOTHING
"""
_HAS_OPERATOR = """
    SELECT 1 FROM api_keys
    WHERE '*' = ANY (scopes) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) LIMIT 1
"""
_USED = """
    UPDATE api_keys SET last_used_at = greatest(last_used_at, used.at)
    FROM unnest($1::uuid[], $2::timestamptz[]) AS used (id, at) WHERE api_keys.id = used.id
"""


async def find(pool: asyncpg.Pool, key_hash: bytes) -> asyncpg.Record | None:
    """The live key with this digest."""
    return await pool.fetchrow(_FIND, key_hash)


async def note_used(pool: asyncpg.Pool, used: Mapping[UUID, datetime]) -> None:
    """Write down when keys were last used."""
    ids = sorted(used)
    await pool.execute(_USED, ids, [used[key_id] for key_id in ids])


async def ensure_operator(pool: asyncpg.Pool, given: str | None) -> NewKey | None:
    """See that an operator can get in; returns a key that was made here because there was none.

    A given key is added unless it is known; if it was revoked, it stays so.
    """
    if given is not None:
        await _add(pool, given_key(given), "bootstrap")
        return None
    if await pool.fetchval(_HAS_OPERATOR):
        return None
    key = make_key()
    await _add(pool, key, "first operator")
    return key


async def _add(pool: asyncpg.Pool, key: NewKey, name: str) -> None:
    await pool.execute(_ADD, new_id(), key.prefix, key.digest, name, sorted(ROLES["operator"]))


async def page(session: AsyncSession, *, after: UUID | None, limit: int) -> Sequence[ApiKey]:
    """Keys from the newest on, revoked ones too."""
    wanted = select(ApiKey).order_by(col(ApiKey.id).desc()).limit(limit)
    if after is not None:
        wanted = wanted.where(col(ApiKey.id) < after)
    return (await session.exec(wanted)).all()
