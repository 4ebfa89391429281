"""Problem documents (RFC 9457): every error a caller can get is an exception of this family."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

TYPE_PREFIX = "/problems/"


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field; `pointer` is a JSON pointer into the body, or names a parameter."""

    pointer: str
    detail: str


class Problem(Exception):
    """An error with a public meaning. Subclasses set `slug`, `title` and `status`.

    `detail` says what happened in this case and what to do; it never carries personal data.
    """

    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on our side"
    status: ClassVar[int] = 500

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extensions = extensions

    def document(self, request_id: str | None = None) -> dict[str, Any]:
        """The problem document as a JSON-able value."""
        body: dict[str, Any] = {
            "type": TYPE_PREFIX + self.slug,
            "title": self.title,
            "status": self.status,
        }
        if self.detail is not None:
            body["detail"] = self.detail
        if request_id is not None:
            body["request_id"] = request_id
        if self.errors:
            body["errors"] = [{"pointer": e.pointer, "detail": e.detail} for e in self.errors]
        return body | self.extensions


class Malformed(Problem):
    slug, title, status = "malformed", "The request cannot be read", 400


class Unauthenticated(Problem):
    slug, title, status = "unauthenticated", "The caller is not known", 401

    def __init__(self, detail: str | None = None, **rest: Any) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"}, **rest)


class Forbidden(Problem):
    slug, title, status = "forbidden", "The caller may not do this", 403


class NotFound(Problem):
    slug, title, status = "not-found", "There is no such thing", 404


class Conflict(Problem):
    slug, title, status = "conflict", "This does not fit the present state", 409


class PreconditionFailed(Problem):
    slug, title, status = "stale", "The thing has changed since it was read", 412


class TooLarge(Problem):
    slug, title, status = "too-large", "The request body is too large", 413


class Invalid(Problem):
    slug, title, status = "invalid", "Some fields do not fit", 422


class PreconditionRequired(Problem):
    slug, title, status = "precondition-required", "A required header is missing", 428


class TooManyRequests(Problem):
    slug, title, status = "rate-limited", "Too many requests", 429

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 1, **rest: Any) -> None:
        headers = {"Retry-After": str(retry_after_s)} | dict(rest.pop("headers", None) or {})
        super().__init__(detail, headers=headers, **rest)


class Unavailable(Problem):
    slug, title, status = "unavailable", "A part that is needed is away", 503

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 1, **rest: Any) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)}, **rest)


class TimedOut(Problem):
    slug, title, status = "timed-out", "A part that is needed did not answer in time", 504
