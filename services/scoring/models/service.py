"""Models as artefacts: fit and judge, keep the version, let the better one serve, watch it drift."""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import date, timedelta

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from services.scoring.facts import store as facts
from services.scoring.facts import walks
from services.scoring.facts.histories import DAYS_PER_UNIT, Histories, Spending, Unit
from services.scoring.models import release, store, worker
from services.scoring.models.catalogue import ModelKind, purchases_by
from services.scoring.models.estimation import TooFewCustomers
from services.scoring.models.evaluation import HoldOut, SpendHoldOut
from services.scoring.models.schemas import FitRequest
from services.scoring.settings import ScoringSettings
from services.scoring.tables import Model
from shared.database import Database, raw
from shared.problems import Conflict, NotFound
from shared.telemetry import logger

HOLD_OUT_LEAST_DAYS = 14


@dataclass(frozen=True, slots=True)
class Data:
    """What a fit reads: all histories or spending, and the same held back from `calibration_end` on."""

    everything: Histories | Spending
    hold_out: HoldOut | SpendHoldOut | None
    calibration_end: date | None
    currency: str | None
    window: tuple[date, date]


async def fit(
    database: Database, settings: ScoringSettings, kind: ModelKind, request: FitRequest, observed: date
) -> int:
    """Fit a model to the facts as of `observed` and let it serve if the rule says so; returns its version.

    The model that served until now goes on serving when this one is refused or predicts worse.

    Raises:
        TooFewCustomers, NoRepeatBuyers, NoVariance, NotConverged: the model refuses these customers.
        SelfTestFailed: the model does not give its known numbers.
        TookTooLong: it was stopped.
    """
    async with database.pool.acquire() as connection:
        data = await _read(connection, settings, kind, request, observed)
        incumbent = _incumbent(kind, data.currency, await store.served(connection))
    fitted = await worker.run(
        worker.Task(
            kind,
            data.everything,
            settings.fit_minimum_customers,
            data.hold_out,
            _comparable(incumbent, request.unit) if incumbent else None,
        ),
        timeout_s=settings.fit_timeout_s,
    )
    quality = None
    if fitted.quality is not None:
        quality = fitted.quality | {
            "calibration_end": str(data.calibration_end),
            "serving": incumbent.name if incumbent else None,
            "serving_error": fitted.serving_error,
        }
    better, why = release.decide(
        fitted.quality["rms_error"] if fitted.quality else None,
        incumbent.name if incumbent else None,
        fitted.serving_error,
        settings.promotion_tolerance,
    )
    rates: tuple[float, float | None] = (0.0, None)
    async with database.pool.acquire() as connection, connection.transaction():
        if data.currency is not None:
            rates = await store.read_rates(connection, observed, data.currency)
        still = _incumbent(kind, data.currency, await store.served(connection))
        if (still and still.id) != (incumbent and incumbent.id):
            better, why = False, "not promoted: another model came to serve meanwhile"
        version = await store.add_version(
            connection,
            kind,
            fitted.estimate,
            unit=None if kind == "gamma_gamma" else request.unit,
            currency=data.currency,
            window=data.window,
            quality=quality,
            data_hash=await asyncio.to_thread(_hash, data.everything),
            promotion=why,
            rates=rates,
            serve=better,
        )
        if better:
            await walks.ask(connection, "rescore", f"model {kind}/{version}")
    return version


async def promote(session: AsyncSession, kind: ModelKind, version: int) -> Model:
    """Let a version serve, whatever the hold-out said of it.

    Raises:
        NotFound: there is no such version.
        SelfTestFailed: the model does not give its known numbers.
    """
    model = await store.read_model(session, kind, version)
    if model is None:
        raise NotFound(f"There is no {kind}/{version}.")
    release.self_test(kind)
    if not model.serving:
        await _instead(session, model, "promoted by hand", forward=True)
    return model


async def roll_back(session: AsyncSession, kind: ModelKind, currency: str | None) -> Model:
    """Let the model serve again that the present one replaced.

    Raises:
        Conflict: no version of this kind serves, or it replaced none.
        SelfTestFailed: the model before does not give its known numbers.
    """
    serving = await store.read_serving_version(session, kind, currency)
    if serving is None:
        raise Conflict(f"No {kind} serves, so there is nothing to go back from.")
    before = await session.get(Model, serving.replaced) if serving.replaced else None
    if before is None:
        raise Conflict(f"{kind}/{serving.version} replaced no model, so there is none to go back to.")
    release.self_test(store.kind_of(before))
    name = f"{kind}/{serving.version}"
    await _instead(session, before, f"serves again: {name} was rolled back", forward=False)
    return before


async def watch_drift(database: Database, settings: ScoringSettings, observed: date) -> None:
    """Compare purchases since the serving model's window with what it expected, and say so when far off."""
    async with database.pool.acquire() as connection:
        models = [model for model in await store.served(connection) if model.kind != "gamma_gamma"]
        for model in models:
            if model.unit is None or (observed - model.window_to).days < release.DRIFT_LEAST_DAYS:
                continue
            since = await store.read_hold_out(
                connection, model.window_to, observed, model.unit, settings.fit_rows
            )
            predicting = purchases_by(model.kind).make(**model.params)
            drift = await asyncio.to_thread(release.drift, predicting, since, str(observed))
            await store.write_drift(connection, model, drift)
            if drift.drifting:
                logger(service="scoring", part="models").warning(
                    "model drifts", model=model.name, predicted=drift.predicted, bought=drift.bought
                )


async def _read(
    connection: asyncpg.Connection,
    settings: ScoringSettings,
    kind: ModelKind,
    request: FitRequest,
    observed: date,
) -> Data:
    currency: str | None = None
    everything: Histories | Spending
    if kind == "gamma_gamma":
        currency = request.currency or await facts.main_currency(connection)
        if currency is None:
            raise TooFewCustomers("No customer has bought yet.")
        everything = await facts.read_spending(connection, currency, settings.fit_rows)
    else:
        everything = await facts.read_histories(connection, observed, request.unit, settings.fit_rows)
    window = await facts.data_window(connection, currency)
    first = window[0] if window else observed
    held_back = timedelta(days=int((observed - first).days * settings.hold_out_share))
    if held_back.days < HOLD_OUT_LEAST_DAYS:
        return Data(everything, None, None, currency, (first, observed))
    end = observed - held_back
    hold_out: HoldOut | SpendHoldOut
    if currency is not None:
        hold_out = await store.read_spend_hold_out(connection, end, observed, currency, settings.fit_rows)
    else:
        hold_out = await store.read_hold_out(connection, end, observed, request.unit, settings.fit_rows)
    return Data(everything, hold_out, end, currency, (first, observed))


def _incumbent(kind: ModelKind, currency: str | None, models: list[store.Served]) -> store.Served | None:
    """The model that serves in the place that this kind competes for."""
    spend = kind == "gamma_gamma"
    theirs = (m for m in models if (m.kind == "gamma_gamma") == spend and m.currency == currency)
    return next(theirs, None)


def _comparable(serving: store.Served, unit: Unit) -> worker.Incumbent:
    rescale = DAYS_PER_UNIT[unit] / DAYS_PER_UNIT[serving.unit] if serving.unit else 1.0
    return worker.Incumbent(serving.kind, serving.params, rescale)


async def _instead(session: AsyncSession, model: Model, why: str, *, forward: bool) -> None:
    connection = await raw(session)
    await store.serve_instead(connection, model, why, forward=forward)
    await walks.ask(connection, "rescore", f"model {model.kind}/{model.version}")
    await session.refresh(model)


def _hash(data: Histories | Spending) -> str:
    """Of the fitted numbers, whatever order they were read in: equal data have equal hashes."""
    import numpy as np

    columns = np.array([getattr(data, name) for name in data.__dataclass_fields__])
    return hashlib.sha256(columns[:, np.lexsort(columns)].tobytes()).hexdigest()
