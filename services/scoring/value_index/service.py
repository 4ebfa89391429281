"""Keeping the value index true: of customers to whom something happened, and of all when scales change."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
import numpy as np

from services.scoring import due
from services.scoring.settings import ScoringSettings
from services.scoring.value_index import store
from services.scoring.value_index.ahp import Floats
from services.scoring.value_index.rules import (
    MEASURES,
    Indexed,
    Setup,
    index,
    levels,
    measure_weights,
    moved,
    score,
)
from services.scoring.value_index.schemas import ValueIndexIn
from shared.database import Database

TURN_S = 2.0
SAMPLE = 20_000  # customers that the scales are cut from: a centile is then off by 0.3 % at most, mostly


async def keep_index(database: Database, settings: ScoringSettings) -> None:
    """The background job: begin a pass over all when one is due, and go on for at most two seconds."""
    deadline = time.monotonic() + TURN_S
    while time.monotonic() < deadline and await index_on(database, settings):
        pass


async def index_on(database: Database, settings: ScoringSettings) -> bool:
    """Index one chunk of customers in one transaction; returns whether there was one."""
    async with database.pool.acquire() as connection, connection.transaction():
        state = await store.read_state(connection)
        setup = setup_of(state.setup)
        if state.due:
            await store.begin_pass(connection, await _scales(connection, settings, setup), state.version)
            return True
        ids = await due.take(connection, "value_index", settings.chunk)
        if not ids and state.after is not None:
            ids = await due.next_customers(connection, state.after, settings.chunk)
            await store.advance(connection, ids[-1] if ids else None, state.version)
        if ids:
            await _index(connection, ids, settings, setup, state.scales)
        return bool(ids)


def setup_of(said: str) -> Setup:
    """The setup that is stored as JSON text."""
    return ValueIndexIn.model_validate_json(said).setup()


async def _scales(connection: asyncpg.Connection, settings: ScoringSettings, setup: Setup) -> store.Scales:
    ids = await store.sample(connection, SAMPLE)
    parts = [
        await store.measure(
            connection, ids[start : start + settings.chunk], settings.margin, setup.cost_to_serve
        )
        for start in range(0, len(ids), settings.chunk)
    ]
    whole = store.Measured(
        [i for part in parts for i in part.customer_ids],
        [c for part in parts for c in part.currencies],
        {m: np.concatenate([part.columns[m] for part in parts] or [np.empty(0)]) for m in MEASURES},
        [],
    )
    return await asyncio.to_thread(store.centiles, whole, settings.quantile_minimum_customers)


async def _index(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    settings: ScoringSettings,
    setup: Setup,
    scales: store.Scales,
) -> None:
    measured = await store.measure(connection, customer_ids, settings.margin, setup.cost_to_serve)
    found, moves = await asyncio.to_thread(_compute, measured, setup, scales)
    known = [n for n, one in enumerate(found) if one is not None]
    await store.write(
        connection,
        [measured.customer_ids[n] for n in known],
        [one for one in found if one is not None],
        [moves[n] for n in known],
    )


def _compute(
    measured: store.Measured, setup: Setup, scales: store.Scales
) -> tuple[list[Indexed | None], list[tuple[str, float] | None]]:
    weights = measure_weights(levels(setup))
    scores = {m: _scored(m, measured, scales.get(m, {})) for m in MEASURES}
    found = index(scores, weights, setup)
    moves = [
        moved(before, one.parts, weights) if one is not None and before is not None else None
        for one, before in zip(found, measured.parts, strict=True)
    ]
    return found, moves


def _scored(measure: str, measured: store.Measured, cuts: Mapping[str, Sequence[float]]) -> Floats:
    values = measured.columns[measure]
    scores = np.full(values.shape, np.nan)
    groups = np.array([c or store.ANY for c in measured.currencies], dtype=object)
    for group, points in cuts.items():
        chosen = groups == group if measure in store.MONEY else np.ones(values.shape, dtype=bool)
        scores[chosen] = score(values[chosen], points)
    return scores
