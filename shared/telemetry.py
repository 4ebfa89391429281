"""Logs, metrics and trace context.

Logs are one JSON object a line, with the request id and trace id of the work in hand. They name ids and
codes, never values: an exception is logged by its type and place, because messages of drivers and
validators repeat the data that they refuse.
"""

import logging
import os
import re
import secrets
import sys
import traceback
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
TRACEPARENT: ContextVar[str | None] = ContextVar("traceparent", default=None)

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
# From the environment once per process: os.urandom is one system call, and ids need no more.
_FLAGS = "01"
# Loggers that quote whole messages as they came over the wire: of their lines the template is enough.
_QUOTING = {"aiormq.channel"}

REQUESTS = Histogram(
    "c360_request_seconds",
    "Time to answer, by service, route and status",
    ["service", "method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
EVENTS_PUBLISHED = Counter("c360_events_published_total", "Events confirmed by the transport", ["service"])
EVENTS_HANDLED = Counter(
    "c360_events_handled_total",
    "Events by consumer and outcome (done, repeated, retried, dead)",
    ["consumer", "outcome"],
)
OUTBOX_ROWS = Gauge("c360_outbox_rows", "Events waiting for the transport", ["service"])
OUTBOX_AGE = Gauge("c360_outbox_oldest_seconds", "Age of the oldest waiting event", ["service"])
DEAD_LETTERS = Gauge("c360_dead_letters", "Events given up, by service", ["service"])
SECTION_MARKS = Gauge("c360_section_marks", "Customers whose snapshot is due", ["service"])
UP = Gauge("c360_dependency_up", "1 when the dependency answers", ["service", "dependency"])


def configure_logging(level: str = "INFO") -> None:
    """Send structlog and the standard library's logging to stderr as JSON lines. Idempotent."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_context,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level)))


def logger(**bound: Any) -> Any:
    """A structured logger that carries the given fields."""
    return structlog.get_logger(**bound)


def safe_error(error: BaseException) -> dict[str, str]:
    """Type, SQLSTATE and place of an exception, without its message: what a log line may say of it."""
    cause = getattr(error, "orig", None) or error
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    said = {
        "error": type(cause).__name__,
        "at": " < ".join(f"{_module(f.filename)}:{f.lineno} {f.name}" for f in reversed(frames)),
    }
    state = getattr(cause, "sqlstate", None)
    return said | ({"sqlstate": str(state)} if state else {})


def current_traceparent() -> str | None:
    """The W3C trace context of the work in hand."""
    return TRACEPARENT.get()


def continue_trace(received: str | None) -> str:
    """Set and return this hop's trace context: a child of what was received, or a new trace."""
    match = _TRACEPARENT.fullmatch(received) if received else None
    trace_id, flags = (match[1], match[2]) if match else (secrets.token_hex(16), _FLAGS)
    traceparent = f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"
    TRACEPARENT.set(traceparent)
    return traceparent


def _add_context(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    request_id, traceparent = REQUEST_ID.get(), TRACEPARENT.get()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    if traceparent is not None:
        event.setdefault("trace_id", traceparent[3:35])
    return event


def _module(filename: str) -> str:
    return os.path.relpath(filename).rsplit("site-packages/", 1)[-1]


class _JsonFormatter(logging.Formatter):
    """Lines of libraries, in the same form; an exception is reduced by safe_error."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {"logger": record.name, "level": record.levelname.lower()}
        if record.exc_info and record.exc_info[1] is not None:
            # The message of a library that logs an exception often repeats it; its template does not.
            event |= {"event": str(record.msg)[:200]} | safe_error(record.exc_info[1])
        elif record.name in _QUOTING:
            event["event"] = str(record.msg)[:200]
        else:
            event["event"] = record.getMessage()[:500]
        rendered = structlog.processors.JSONRenderer()(None, "", _add_context(None, "", event))
        return rendered if isinstance(rendered, str) else rendered.decode()
