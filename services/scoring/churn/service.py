"""Learning who leaves, and keeping everyone's risk true: after events, new scores, models and settings.

A classifier that serves gives the risk; where none does, it is the probability of silence by the model of
purchases. Whoever its label says has left already has none.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import orjson

from services.scoring import due
from services.scoring.churn import rules, silence, store, worker
from services.scoring.churn.classifier import Classifier
from services.scoring.churn.preparation import TooFewRows
from services.scoring.churn.schemas import ChurnFitRequest
from services.scoring.churn.store import Line, Served
from services.scoring.churn.table import read_label, read_table
from services.scoring.models.serving import PurchaseModel
from services.scoring.models.store import read_serving
from services.scoring.settings import ScoringSettings
from services.scoring.value.store import read_columns
from shared.clock import utc_now
from shared.database import Database
from shared.problems import NotFound

TURN_S = 2.0
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Risks:
    """Risks of some customers, of one model."""

    customer_ids: list[UUID]
    risks: list[float]
    reasons: list[list[str]]
    kind: str
    horizon_days: int | None
    line: Line
    model: str


async def fit(database: Database, settings: ScoringSettings, request: ChurnFitRequest, observed: date) -> int:
    """Learn who leaves from the customers who have the label; serve it if the rule says so.

    Returns the version. What served until now goes on serving when this one is refused.

    Raises:
        TooFewRows, OneClass, NoUsableColumn, LabelNotBinary, TimeDoesNotSplit: they determine no model.
        TookTooLong: it was stopped.
    """
    body = await _table(database, settings, request.label, observed)
    learnt = await worker.run(
        worker.Task(body, "json", request.options(), customers=0),
        timeout_s=settings.fit_timeout_s,
        pointer="/",
    )
    report = orjson.loads(learnt.report)
    async with database.pool.acquire() as connection, connection.transaction():
        await store.hold_models(connection)
        served = await store.read_served(connection)
        before = served.skill if served and served.label == request.label else None
        better, why = rules.promote(report["auc"], report["auc_error"], report["skill"], before)
        return await store.add_version(
            connection,
            store.Version(
                kind=report["chosen"],
                label=request.label,
                positive=request.positive,
                classifier=orjson.dumps(learnt.classifier).decode(),
                threshold=report["threshold"]["risk"],
                report=learnt.report.decode(),
                customers=report["used"],
                data_hash=learnt.data_hash,
                as_of=observed,
                promotion=why,
                serving=better,
            ),
        )


async def serve(connection: asyncpg.Connection, version: int | None) -> None:
    """Let a version serve, whatever the rule said of it; None: the model of purchases does.

    Raises:
        NotFound: there is no such version.
    """
    await store.hold_models(connection)
    if not await store.serve(connection, version):
        raise NotFound(f"There is no version {version}.")


async def keep_churn(database: Database, settings: ScoringSettings) -> None:
    """The background job: begin a pass over all when one is due, and go on for at most two seconds."""
    deadline = time.monotonic() + TURN_S
    while time.monotonic() < deadline and await risk_on(database, settings, settings.observed(utc_now())):
        pass


async def risk_on(database: Database, settings: ScoringSettings, observed: date) -> bool:
    """Compute the risk of one chunk of customers in one transaction; returns whether there was one."""
    async with database.pool.acquire() as connection, connection.transaction():
        served = await store.read_served(connection)
        state = await store.read_pass(connection)
        basis = f"{served.name if served else 'purchases'}, {settings.churn_basis}"
        if state.walked or state.basis != basis:
            await store.begin_pass(connection, basis)
            return True
        ids = await due.take(connection, "churn", settings.chunk)
        if not ids and state.after is not None:
            ids = await store.next_customers(connection, state.after, settings.chunk)
        if ids:
            await _assess(connection, ids, settings, observed, served)
        return bool(ids) or state.after is not None


async def _assess(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    settings: ScoringSettings,
    observed: date,
    served: Served | None,
) -> None:
    if served is not None:
        rows = await store.read_rows(connection, customer_ids, observed)
        found = await asyncio.to_thread(_by_classifier, rows, served, settings.churn_margin)
    else:
        model = (await read_serving(connection)).purchases
        found = await _by_silence(connection, customer_ids, settings, observed, model)
    await store.write(
        connection,
        found.customer_ids,
        found.risks,
        found.reasons,
        kind=found.kind,
        horizon_days=found.horizon_days,
        line=found.line,
        model=found.model,
        observed=observed,
    )
    known = set(found.customer_ids)
    await store.forget(connection, [i for i in customer_ids if i not in known])


def _by_classifier(rows: Sequence[str], served: Served, margin: float) -> Risks:
    classifier = _classifier(served.classifier)
    table = read_table(_joined(rows), "json")
    labels = table.columns.get(served.label, [None] * table.rows)
    stays = [n for n, cell in enumerate(labels) if read_label(cell, served.positive) != 1]
    there = table.taken(stays)
    features = classifier.encode(there)
    threshold = served.threshold
    return Risks(
        [UUID(str(there.columns["customer_id"][n])) for n in range(there.rows)],
        np.round(classifier.risk(features), DIGITS).tolist(),
        [[reason.words for reason in some] for some in classifier.reasons(there, features)],
        "contractual",
        None,
        Line(threshold, 0.0 if threshold is None else rules.rearm_below(threshold, margin)),
        served.name,
    )


async def _by_silence(
    connection: asyncpg.Connection,
    customer_ids: Sequence[UUID],
    settings: ScoringSettings,
    observed: date,
    model: PurchaseModel | None,
) -> Risks:
    facts = await read_columns(connection, customer_ids, observed)
    threshold, horizon = settings.churn_threshold, settings.churn_horizon_days
    line = Line(threshold, rules.rearm_below(threshold, settings.churn_margin))
    if model is None:
        return Risks([], [], [], "non_contractual", horizon, line, "none")
    buyers = np.flatnonzero(facts.days > 0)
    x, since = facts.days[buyers] - 1, facts.since_last[buyers]
    span, age = facts.span[buyers], facts.age[buyers]
    unit = model.unit_days

    def compute() -> tuple[list[float], list[float]]:
        risk = silence.p_silence(model.params, horizon / unit, x, span / unit, age / unit)
        alive = model.params.p_alive(x, span / unit, age / unit)
        return np.round(risk, DIGITS).tolist(), alive.tolist()

    risks, alive = await asyncio.to_thread(compute)
    return Risks(
        [facts.customer_ids[n] for n in buyers.tolist()],
        risks,
        [
            silence.reasons(*each)
            for each in zip(since.tolist(), span.tolist(), x.tolist(), alive, strict=True)
        ],
        "non_contractual",
        horizon,
        line,
        f"{model.kind}/{model.version}",
    )


async def _table(database: Database, settings: ScoringSettings, label: str, observed: date) -> bytes:
    """What is known of the customers who have the label, as the worker takes it."""
    rows: list[str] = []
    async with database.pool.acquire() as connection:
        ids = await store.labelled(connection, label, settings.churn_fit_customers)
        if not ids:
            raise TooFewRows(f"No customer has the attribute {label!r}.")
        for start in range(0, len(ids), settings.chunk):
            rows += await store.read_rows(connection, ids[start : start + settings.chunk], observed)
    return await asyncio.to_thread(_joined, rows)


def _joined(rows: Sequence[str]) -> bytes:
    return ('{"rows":[' + ",".join(rows) + "]}").encode()


@lru_cache(maxsize=2)
def _classifier(said: str) -> Classifier:
    """The classifier that serves is read once, not for every chunk."""
    parsed: dict[str, Any] = orjson.loads(said)
    return Classifier.from_json(parsed)
