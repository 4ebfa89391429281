"""The name under which a caller's posting is kept."""

import hashlib

from pydantic import BaseModel

from services.loyalty.ledger.store import Key
from shared.web.idempotency import input_hash


def posting_key(caller_id: str, key: str, path: str, body: BaseModel) -> Key:
    """A caller's Idempotency-Key, with what the request means.

    The key itself is hashed: postings are kept for ever, and callers put order numbers, addresses and ids of
    customers into it, which an erasure could not reach.
    """
    return Key(f"api {caller_id} {hashlib.sha256(key.encode()).hexdigest()}", input_hash(path, body))
