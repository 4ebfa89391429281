"""Which arm a customer is in, from a hash alone, so that a partner's system finds the same one. Pure.

The bucket is the first 8 bytes of SHA-256 over `salt:customer_id` (UTF-8; the id in lower case with hyphens),
read as a big-endian number, modulo 10,000. The arms take the buckets in their order, each as many as its
share. With a salt of its own each experiment divides customers independently of the others.
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate
from uuid import UUID

BUCKETS = 10_000


def bucket(salt: str, customer_id: UUID) -> int:
    """The customer's bucket, from 0 to 9,999: the same for ever."""
    digest = hashlib.sha256(f"{salt}:{customer_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def edges(shares: Sequence[float]) -> list[int]:
    """The first bucket after each arm's, of shares that sum to 1; the last one is 10,000."""
    return [round(edge * BUCKETS) for edge in accumulate(shares)]


def widths(shares: Sequence[float]) -> list[float]:
    """The share that each arm really has: whole buckets."""
    ends = edges(shares)
    return [(end - begin) / BUCKETS for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def place(salt: str, customer_id: UUID, shares: Sequence[float]) -> int:
    """Which arm the customer is in, counted from 0."""
    found = bucket(salt, customer_id)
    return next(arm for arm, end in enumerate(edges(shares)) if found < end)
