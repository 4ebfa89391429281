"""Where scores of many customers are computed: in a thread here, or in pieces on a Dask cluster.

A score does not depend on whom it is computed with, so the pieces give the same numbers to the bit wherever
they run. The workers need this project installed, in the same versions (`pip install .[distributed]`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any

from services.scoring.models.serving import Serving
from services.scoring.value.lifetime import FactColumns, Scores, Terms, score
from services.scoring.value.rules import Cuts
from shared.problems import Unavailable

CONNECT_S = 10.0
ANSWER_S = 120.0

Compute = Callable[[FactColumns, Cuts, Serving, Terms], Awaitable[Scores]]


class ClusterAway(Unavailable):
    slug, title = "cluster-away", "The Dask cluster does not answer"


async def score_here(facts: FactColumns, cuts: Cuts, models: Serving, terms: Terms) -> Scores:
    """In a thread: the event loop goes on."""
    return await asyncio.to_thread(score, facts, cuts, models, terms)


@asynccontextmanager
async def computing(scheduler: str | None, piece: int) -> AsyncIterator[Compute]:
    """How to score while the context is open: on the cluster of this scheduler, or here when there is none.

    The cluster is connected to by the first who scores, `piece` customers are one task.
    """
    if scheduler is None:
        yield score_here
        return
    client: Any = None

    async def on_cluster(facts: FactColumns, cuts: Cuts, models: Serving, terms: Terms) -> Scores:
        nonlocal client
        client = client or await _connect(scheduler)
        parts = [
            client.submit(score, _rows(facts, start, start + piece), cuts, models, terms, pure=False)
            for start in range(0, len(facts.customer_ids), piece)
        ]
        try:
            async with asyncio.timeout(ANSWER_S):
                return _together(await client.gather(parts))
        except TimeoutError as error:
            raise ClusterAway(f"No answer from {scheduler} within {ANSWER_S:g} s.") from error

    try:
        yield on_cluster
    finally:
        if client is not None:
            await client.close()


async def _connect(scheduler: str) -> Any:
    """
    Raises:
        ClusterAway: nobody answers there, or Dask is not installed here.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterAway("Dask is not installed; `pip install .[distributed]` brings it.") from error
    try:
        return await Client(scheduler, asynchronous=True, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ClusterAway(f"Nobody answers at {scheduler}.") from error


def _rows(facts: FactColumns, start: int, end: int) -> FactColumns:
    return FactColumns(**{field.name: getattr(facts, field.name)[start:end] for field in fields(facts)})


def _together(parts: list[Scores]) -> Scores:
    columns: dict[str, Any] = {}
    for field in fields(Scores):
        values = [getattr(part, field.name) for part in parts]
        columns[field.name] = (
            values[0] if field.name == "purchase_kind" else [row for value in values for row in value]
        )
    return Scores(**columns)
