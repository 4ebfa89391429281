"""Identifiers: UUID version 7, so that they sort by the time they were made (RFC 9562)."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A fresh UUIDv7 as the standard library's UUID."""
    return uuid7()
