"""Partners' secrets at rest: Fernet (AES-128-CBC with HMAC-SHA256) under a key from the environment.

Several keys may be given, newest first: the first one seals, all of them open, so a key can be replaced.
"""

from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.problems import Unavailable

PURPOSE = b"c360 webhook secrets"


class Vault:
    """Seals and opens secrets.

    Args:
        keys: long random texts, comma-separated; None leaves the vault shut.
    """

    def __init__(self, keys: str | None) -> None:
        found = [key.strip() for key in (keys or "").split(",") if key.strip()]
        self._fernet = MultiFernet([_fernet(key) for key in found]) if found else None

    def seal(self, secret: str) -> bytes:
        """The secret, encrypted.

        Raises:
            Unavailable: there is no key.
        """
        return self._open_for_business().encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """The secret again.

        Raises:
            Unavailable: there is no key, or not the one that sealed it.
        """
        try:
            return self._open_for_business().decrypt(sealed).decode()
        except InvalidToken as error:
            raise Unavailable("A webhook secret was sealed with another C360_WEBHOOK_SECRET_KEY.") from error

    def _open_for_business(self) -> MultiFernet:
        if self._fernet is None:
            raise Unavailable("Webhooks are off: C360_WEBHOOK_SECRET_KEY is not set.")
        return self._fernet


def _fernet(key: str) -> Fernet:
    derived = HKDF(hashes.SHA256(), 32, salt=None, info=PURPOSE).derive(key.encode())
    return Fernet(urlsafe_b64encode(derived))
