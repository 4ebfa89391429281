"""Live composition: the services are asked side by side, each with its own deadline and breaker.

A service that does not answer costs its section the word `live`, never the answer: the view's copy stands in,
as `stale`. What a service says is placed in the answer as it came.
"""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from uuid import UUID

import asyncpg

from gateway.edge.upstreams import Upstream
from gateway.view import store
from gateway.view.answer import MISSING, Shown, from_rows
from shared.problems import TimedOut, Unavailable

NOTHING_KNOWN = Shown(None, "ok", "live", 0, None)


async def compose_live(
    pool: asyncpg.Pool,
    upstreams: Mapping[str, Upstream],
    customer_id: UUID,
    wanted: Sequence[str],
    *,
    token: str,
    timeout_s: float,
) -> dict[str, Shown] | None:
    """The wanted sections, live where their service answers within `timeout_s`; None for a stranger.

    Raises:
        Unavailable: whether there is such a customer cannot be told now.
    """
    asked = [_ask(upstreams[section], customer_id, token, timeout_s) for section in wanted]
    answers = dict(zip(wanted, await asyncio.gather(*asked), strict=True))
    shown = {section: answer for section, answer in answers.items() if answer is not None}
    if "profile" in shown and shown["profile"].body is None:
        return None
    known = any(answer.body is not None for answer in shown.values())
    if known and len(shown) == len(wanted):
        return shown
    (rows,) = await store.read_many(pool, [customer_id])
    stored = from_rows(rows)
    if stored is None and not known:
        if len(shown) < len(wanted):
            raise Unavailable("Not every service answers, and the view does not know this customer.")
        return None
    return {section: shown.get(section) or _stand_in(stored, section) for section in wanted}


async def _ask(upstream: Upstream, customer_id: UUID, token: str, timeout_s: float) -> Shown | None:
    """One service's section; None when it did not answer."""
    path = f"/internal/sections/{customer_id}"
    try:
        status, headers, content = await upstream.fetch(path, token=token, timeout_s=timeout_s)
    except (Unavailable, TimedOut):
        return None
    if status == HTTPStatus.NOT_FOUND:
        return NOTHING_KNOWN
    if status != HTTPStatus.OK:
        return None
    version, as_of = headers.get("x-section-version", "0"), headers.get("x-section-as-of")
    return Shown(content.decode(), "ok", "live", int(version), as_of)


def _stand_in(stored: Mapping[str, Shown] | None, section: str) -> Shown:
    """The view's copy of a section whose service is away."""
    if stored is None or stored[section].version == 0:
        return MISSING
    return stored[section]._replace(status="stale")
