"""Internal tokens: services trust nobody, so each request carries who asks and what they may.

The gateway signs a short-lived JWT (RFC 7519, HS256) with the caller's id and scopes; every service checks
it. Scopes are declared beside the route with `scope(...)` and so listed in OpenAPI.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes

from shared.problems import Forbidden, Unauthenticated

ALGORITHM = "HS256"
AUDIENCE = "c360-services"
LIFETIME_S = 60
CACHE_SIZE = 4096

_bearer = HTTPBearer(scheme_name="key", description="An API key of the gateway.", auto_error=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the id of a key or token, and what it may do."""

    id: str
    scopes: frozenset[str]

    def may(self, scope_name: str) -> bool:
        """Whether the caller holds this scope; `*` holds all."""
        return "*" in self.scopes or scope_name in self.scopes


def sign(secret: str, *, subject: str, scopes: Sequence[str], lifetime_s: float = LIFETIME_S) -> str:
    """A token for one caller, valid for `lifetime_s` seconds."""
    now = time.time()
    claims = {
        "sub": subject,
        "scopes": sorted(scopes),
        "aud": AUDIENCE,
        "iat": int(now),
        "exp": now + lifetime_s,
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


class TokenVerifier:
    """Checks tokens against one secret; remembers good ones until they expire, a bounded number of them."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._known: OrderedDict[str, tuple[Caller, float]] = OrderedDict()

    def verify(self, token: str) -> Caller:
        """The caller named by the token.

        Raises:
            Unauthenticated: the token is missing, forged, expired or not meant for services.
        """
        known = self._known.get(token)
        if known is not None and known[1] > time.time():
            return known[0]
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                options={"require": ["exp", "sub", "aud"]},
            )
            caller = Caller(str(claims["sub"]), frozenset(str(s) for s in claims["scopes"]))
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as error:
            raise Unauthenticated("The internal token is missing, expired or not ours.") from error
        self._known[token] = (caller, float(claims["exp"]))
        if len(self._known) > CACHE_SIZE:
            self._known.popitem(last=False)
        return caller


def authenticate(request: Request) -> Caller:
    """The caller of this request, for plain routes that do not use `scope`.

    Raises:
        Unauthenticated: no good token.
    """
    header = request.headers.get("authorization", "")
    kind, _, token = header.partition(" ")
    if kind.lower() != "bearer" or not token:
        raise Unauthenticated("Send the caller's token as a bearer.")
    verifier: TokenVerifier = request.app.state.verifier
    return verifier.verify(token)


def authorize(request: Request, wanted: Sequence[str]) -> Caller:
    """The caller, when they hold every wanted scope.

    Raises:
        Unauthenticated: no good token.
        Forbidden: a scope is missing; the detail names it.
    """
    caller = authenticate(request)
    for name in wanted:
        if not caller.may(name):
            raise Forbidden(f"This needs the scope {name}.")
    return caller


async def _authorized(request: Request, wanted: SecurityScopes, _: Any = Depends(_bearer)) -> Caller:
    return authorize(request, wanted.scopes)


def scope(*names: str) -> Any:
    """The route's required scopes, as a dependency that gives the `Caller`."""
    return Security(_authorized, scopes=list(names))
