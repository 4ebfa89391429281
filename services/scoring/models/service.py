"""Fitting: read the facts, fit in a process of its own, keep the version, have everyone scored anew."""

from datetime import date

from services.scoring.facts import store as facts
from services.scoring.facts import walks
from services.scoring.facts.histories import Histories, Spending
from services.scoring.models import store, worker
from services.scoring.models.estimation import TooFewCustomers
from services.scoring.models.schemas import FitRequest
from services.scoring.models.worker import ModelKind
from services.scoring.settings import ScoringSettings
from shared.database import Database


async def fit(
    database: Database, settings: ScoringSettings, kind: ModelKind, request: FitRequest, observed: date
) -> int:
    """Fit a model to the facts as of `observed` and let it serve; returns its version.

    The model that served until now goes on serving when this one is refused.

    Raises:
        TooFewCustomers, NoRepeatBuyers, NoVariance, NotConverged: the model refuses these customers.
        FitTookTooLong: it was stopped.
    """
    currency: str | None = None
    data: Histories | Spending
    async with database.pool.acquire() as connection:
        if kind == "bg_nbd":
            data = await facts.read_histories(connection, observed, request.unit, settings.fit_rows)
        else:
            currency = request.currency or await facts.main_currency(connection)
            if currency is None:
                raise TooFewCustomers("No customer has bought yet.")
            data = await facts.read_spending(connection, currency, settings.fit_rows)
        window = await facts.data_window(connection, currency)
    estimate = await worker.run(
        kind,
        data,
        minimum_customers=settings.fit_minimum_customers,
        timeout_s=settings.fit_timeout_s,
    )
    async with database.pool.acquire() as connection, connection.transaction():
        version = await store.add_version(
            connection,
            kind,
            estimate,
            unit=request.unit if kind == "bg_nbd" else None,
            currency=currency,
            window=(window[0] if window else observed, observed),
        )
        await walks.ask(connection, "rescore", f"model {kind}/{version}")
    return version
