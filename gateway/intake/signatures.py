"""Standard Webhooks signatures, version v1 (https://www.standardwebhooks.com), as its own library checks.

Whatever is wrong, the caller learns only that it was refused. An unknown partner is checked against a random
secret, so that it takes as long as a known one.
"""

import secrets
from base64 import b64encode
from collections.abc import Iterable, Sequence

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared.problems import Unauthenticated

SECRET_BYTES = 32
ID_MAX_CHARS = 256
SIGNED = (b"webhook-id", b"webhook-timestamp", b"webhook-signature")
REFUSED = "The webhook's signature, timestamp or partner is not right."

_NOBODY = Webhook(secrets.token_bytes(SECRET_BYTES))


def make_secret() -> str:
    """A fresh secret in the specification's form."""
    return "whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def verify(webhooks: Sequence[Webhook], headers: Iterable[tuple[bytes, bytes]], body: bytes) -> str:
    """Check a webhook against a partner's secrets; returns the webhook's id.

    Args:
        webhooks: one for each secret that counts now; empty for a partner that we do not know.

    Raises:
        Unauthenticated: not signed by any of them, or not within five minutes of now.
    """
    signed = _signed_headers(headers)
    for webhook in webhooks or (_NOBODY,):
        if signed is not None and _is_good(webhook, signed, body) and webhooks:
            return signed["webhook-id"]
    raise Unauthenticated(REFUSED)


def _is_good(webhook: Webhook, signed: dict[str, str], body: bytes) -> bool:
    try:
        webhook.verify(body, signed, json_parse=False)
    except (WebhookVerificationError, ValueError, ArithmeticError, TypeError):
        # ValueError covers what the library lets through: binascii.Error, UnicodeDecodeError, bad unpacking.
        return False
    return True


def _signed_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str] | None:
    """The three headers, each exactly once and in visible ASCII; None otherwise."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name in SIGNED:
            text = value.decode("latin-1")
            if name.decode() in found or not text.isascii() or not text.isprintable():
                return None
            found[name.decode()] = text
    if len(found) != len(SIGNED) or not 0 < len(found["webhook-id"]) <= ID_MAX_CHARS:
        return None
    return found
