"""Making forecasts, when asked and once a week, and comparing them with what came."""

from datetime import date, timedelta

import asyncpg

from services.scoring.background import Background
from services.scoring.demand import store, worker
from services.scoring.demand.schemas import DemandOut, TrackedOut, UnknownOut, weeks_of
from services.scoring.models.estimation import TooFewCustomers
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.database import Database
from shared.problems import Conflict, NotFound

AROUND_S = 300.0  # for reading and writing, beside the computing's own limit
MOST_PAST = 2 * 52  # a year of two measures
NOBODY_YET = "customers who have not bought yet are not in it: what they will buy comes on top"


class NoModel(Conflict):
    slug, title = "no-model", "No model of purchases serves"


async def make(database: Database, settings: ScoringSettings, observed: date, weeks: int) -> None:
    """Forecast the weeks after the observation date, in the place of a forecast of the same day.

    Raises:
        NoModel: there is nothing to forecast with.
        TooFewCustomers: nobody has bought.
        Conflict: a forecast of a later day is there.
        TookTooLong: it was stopped.
    """
    async with database.pool.acquire() as connection, connection.transaction():
        models = await store.read_models(connection)
        if models is None:
            raise NoModel("Fit one first: POST /v1/models/bg_nbd:fit.")
        last = await store.newest_day(connection)
        if last is not None and last > observed:
            raise Conflict(f"A forecast was made on {last}, after the observation date {observed}.")
        customers = await store.enrol(connection, observed)
        if customers == 0:
            raise TooFewCustomers("No customer has bought yet, so nobody can be expected to buy again.")
        segments, currencies, buyers = await store.read_buyers(
            connection, observed, models.unit_days, settings.fit_rows
        )
    rows = await worker.run(
        worker.Task(
            kind=models.kind,
            purchases=models.purchases,
            spends={c: s for c, s in models.spends.items() if c in currencies},
            segments=segments,
            currencies=currencies,
            buyers=buyers,
            unit_days=models.unit_days,
            weeks=weeks,
        ),
        timeout_s=settings.fit_timeout_s,
    )
    unknown = [{"what": what, "why": why} for what, why in _unknown(models, currencies)]
    async with database.pool.acquire() as connection, connection.transaction():
        forecast = store.Forecast(
            observed, weeks, models.name, models.spend_names, customers, unknown, utc_now()
        )
        await store.write(connection, forecast, rows)


def weekly(settings: ScoringSettings) -> Background:
    """The background job: a forecast in each calendar week, once a model serves; and weeks that are over
    are compared with what came."""

    async def due(connection: asyncpg.Connection) -> bool:
        observed = settings.observed(utc_now())
        await store.track(connection, observed)
        last = await store.newest_day(connection)
        monday = observed - timedelta(days=observed.weekday())
        if last is not None and last >= monday:
            return False
        return settings.demand_weeks > 0 and await store.read_models(connection) is not None

    async def work(database: Database) -> None:
        await make(database, settings, settings.observed(utc_now()), settings.demand_weeks)

    return Background("demand", within_s=settings.fit_timeout_s + AROUND_S, due=due, work=work)


async def show(connection: asyncpg.Connection, segment: str, currency: str | None) -> DemandOut:
    """The newest forecast of a segment and currency, and how forecasts of them have done.

    Raises:
        NotFound: no customer of the forecast is in that segment or currency.
    """
    made = await store.newest(connection)
    if made is None:
        why = "No forecast was made yet: POST /v1/demand:forecast makes one."
        if await store.read_models(connection) is None:
            why = "No model of purchases serves: POST /v1/models/bg_nbd:fit, then POST /v1/demand:forecast."
        return _empty(segment, currency, why)
    segments, currencies = await store.choices(connection, made.made_on)
    chosen = currency or currencies[0]
    if segment not in segments:
        raise NotFound(f"There is no such segment in the forecast; there are {', '.join(segments)}.")
    if chosen not in currencies:
        raise NotFound(f"Nobody buys mainly in {chosen}; there are {', '.join(currencies)}.")
    judged = await store.judge(connection, segment, chosen)
    return DemandOut(
        made_on=made.made_on,
        created_at=made.created_at,
        segment=segment,
        currency=chosen,
        segments=segments,
        currencies=currencies,
        customers=made.customers,
        purchase_model=made.purchase_model,
        spend_model=made.spend_models.get(chosen),
        forecast=weeks_of(await store.read_weeks(connection, made.made_on, segment, chosen)),
        past=weeks_of(await store.read_past(connection, segment, chosen, MOST_PAST)),
        tracked={measure: TrackedOut(**numbers) for measure, numbers in judged.items()},
        unknown=[UnknownOut(**one) for one in made.unknown],
    )


def _unknown(models: store.Models, currencies: list[str]) -> list[tuple[str, str]]:
    found = [("new customers", NOBODY_YET)]
    for currency in currencies:
        if currency not in models.spends:
            body = f'{{"currency": "{currency}"}}'
            why = f"no model of spend serves {currency}: POST /v1/models/gamma_gamma:fit {body}"
            found.append((f"revenue in {currency}", why))
    if not models.purchases.covariance or any(not s.parameters.covariance for s in models.spends.values()):
        found.append(("bounds", "they hold chance alone: an older model does not say how sure it is"))
    return found


def _empty(segment: str, currency: str | None, why: str) -> DemandOut:
    return DemandOut(
        made_on=None,
        created_at=None,
        segment=segment,
        currency=currency,
        segments=[],
        currencies=[],
        customers=0,
        purchase_model=None,
        spend_model=None,
        forecast=[],
        past=[],
        tracked={},
        unknown=[UnknownOut(what="forecast", why=why)],
    )
