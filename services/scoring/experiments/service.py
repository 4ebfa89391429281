"""Use cases of experiments: size them, let them run, put customers into arms, read and finish them."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, time
from uuid import UUID

import asyncpg

from services.scoring.actions.rules import KINDS
from services.scoring.actions.store import note_measured
from services.scoring.experiments import outcomes, store
from services.scoring.experiments.assignment import place
from services.scoring.experiments.outcomes import Window
from services.scoring.experiments.results import Read, ResultsOut, compare, results
from services.scoring.experiments.rules import (
    PLANNED_CUSTOMERS,
    SHARES,
    HasEnded,
    NotBegun,
    NothingToSizeBy,
    NotRunning,
    UnknownExperiment,
    reading_end,
)
from services.scoring.experiments.schemas import (
    AssignmentOut,
    ExperimentIn,
    ExposureIn,
    ExposuresOut,
    Rejected,
    SizeIn,
    SizeOut,
)
from services.scoring.experiments.sizing import size
from services.scoring.experiments.store import Exposure, Measured, Stored
from services.scoring.facts.store import main_currency
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.database import Database
from shared.problems import FieldError, Invalid

HISTORY_DAYS = 28
MOST_FINISHED = 20  # experiments in one turn of the job
OF_SHARES = "Fleiss, Tytun & Ury (1980), uncorrected; any_time: the tightest confidence sequence"
OF_MEANS = "Chow, Shao & Wang (2003), normal approximation; any_time: the tightest confidence sequence"


def observed_moment(settings: ScoringSettings) -> datetime:
    """Now, or the end of the observation date when one is set."""
    return datetime.combine(settings.as_of, time.max, UTC) if settings.as_of else utc_now()


async def completed(connection: asyncpg.Connection, design: ExperimentIn) -> ExperimentIn:
    """The design with what was left to us: a salt, the currency."""
    return design.model_copy(
        update={
            "salt": design.salt or secrets.token_hex(8),
            "currency": design.currency or await main_currency(connection),
        }
    )


async def size_of(
    connection: asyncpg.Connection, settings: ScoringSettings, design: ExperimentIn
) -> SizeOut | None:
    """The size of an experiment; None without a smallest effect or anything known of customers."""
    if design.minimum_effect is None:
        return None
    shares = [design.shares[design.control]]
    shares += [share for n, share in enumerate(design.shares) if n != design.control]
    asked = SizeIn.model_validate(
        design.model_dump(
            include=set(SizeIn.model_fields) - {"metric", "shares"},
        )
        | {"metric": design.metrics[0], "shares": shares}
    )
    try:
        return await reckon_size(connection, settings, asked)
    except NothingToSizeBy:
        return None


async def reckon_size(connection: asyncpg.Connection, settings: ScoringSettings, asked: SizeIn) -> SizeOut:
    """How many customers are needed, from what is given, else from what customers did lately.

    Raises:
        Invalid: the effect leaves a share no room.
        NothingToSizeBy: what customers did has no variance, or there are too few.
    """
    now = observed_moment(settings)
    share = asked.metric in SHARES
    given = asked.baseline is not None and (share or asked.deviation is not None)
    baseline, deviation = asked.baseline, asked.deviation
    if not given:
        currency = asked.currency or await main_currency(connection)
        days = asked.outcome_days or HISTORY_DAYS
        window = Window(now, days, min(30, days // 2), 0, currency, now)
        found = await outcomes.moments(
            connection, None, [asked.metric], window, segment=asked.segment, history_days=days
        )
        seen = found.get((0, asked.metric))
        if seen is None or seen.variance <= 0:
            raise NothingToSizeBy("Give baseline and deviation: customers so far show no variance in it.")
        baseline = float(seen.mean) if baseline is None else baseline
        deviation = float(seen.variance) ** 0.5 if deviation is None else deviation
    if baseline is None:
        raise AssertionError("given or found")
    if share and not 0 < baseline < baseline + asked.minimum_effect < 1:
        raise Invalid(errors=[FieldError("/minimum_effect", "baseline and effect must lie between 0 and 1")])
    per_day = asked.per_day
    if per_day is None:
        per_day = await outcomes.per_day(connection, now, asked.segment) or None
    reckoned = size(
        baseline=baseline,
        deviation=None if share else deviation,
        effect=asked.minimum_effect,
        shares=asked.shares,
        control=0,
        alpha=asked.alpha,
        power=asked.power,
        per_day=per_day,
    )
    return SizeOut(
        metric=asked.metric,
        baseline=baseline,
        deviation=None if share else deviation,
        known_from="given" if given else "history",
        minimum_effect=asked.minimum_effect,
        once=reckoned.once,
        any_time=reckoned.any_time,
        per_day=per_day,
        days_once=reckoned.days_once,
        days_any_time=reckoned.days_any_time,
        formula=OF_SHARES if share else OF_MEANS,
    )


async def required(connection: asyncpg.Connection, experiment_id: UUID, *, lock: bool = False) -> Stored:
    """The experiment of this id.

    Raises:
        UnknownExperiment: there is none.
    """
    stored = await store.read(connection, experiment_id, lock=lock)
    if stored is None:
        raise UnknownExperiment("Take an id from the list of experiments.")
    return stored


def design_of(stored: Stored) -> ExperimentIn:
    """The design that is stored as JSON text."""
    return ExperimentIn.model_validate_json(stored.design)


def window_of(settings: ScoringSettings, stored: Stored) -> Window:
    """Which outcomes of an experiment count."""
    design, now = design_of(stored), observed_moment(settings)
    return Window(
        reading_end(now, stored.ends_at, stored.stopped_at),
        design.outcome_days,
        design.retention_days,
        design.before_days,
        design.currency,
        now,
    )


async def begin(connection: asyncpg.Connection, settings: ScoringSettings, stored: Stored) -> None:
    """Let a draft run from now on, or from its starts_at.

    Raises:
        HasEnded: its end lies before its beginning.
    """
    now = observed_moment(settings)
    starts_at = design_of(stored).starts_at or now
    if stored.ends_at is not None and stored.ends_at <= starts_at:
        raise HasEnded("Set a later ends_at.")
    await store.start(connection, stored.id, starts_at, now)


async def assign(
    connection: asyncpg.Connection,
    settings: ScoringSettings,
    stored: Stored,
    customer_ids: Sequence[UUID],
) -> list[AssignmentOut]:
    """The arms of these customers, in their order; who is new is exposed now.

    Raises:
        NotBegun: it is a draft.
    """
    if stored.status == "draft":
        raise NotBegun("Start it, then customers are assigned.")
    design = design_of(stored)
    before = await store.exposed(connection, stored.id, customer_ids)
    now = observed_moment(settings)
    closed = _closed(stored, now)
    asked = [c for c in dict.fromkeys(customer_ids) if c not in before]
    known = await store.audience(connection, asked, design.segment) if asked and not closed else {}
    salt = design.salt or ""
    new = {c: Exposure(place(salt, c, design.shares), now) for c in asked if known.get(c)}
    if new:
        await store.expose(connection, stored.id, new)
    everyone = before | new
    out = []
    for customer in customer_ids:
        exposure = everyone.get(customer)
        arm = design.arms[exposure.arm] if exposure else None
        out.append(
            AssignmentOut(
                customer_id=customer,
                arm=arm.name if arm else None,
                kind=arm.kind if arm else None,
                exposed_at=exposure.exposed_at if exposure else None,
                why_none=None if exposure else closed or _why_none(known, customer),
            )
        )
    return out


async def record(
    connection: asyncpg.Connection, settings: ScoringSettings, stored: Stored, items: Sequence[ExposureIn]
) -> ExposuresOut:
    """Write down exposures that happened elsewhere; each that does not fit is given back with the reason.

    Raises:
        NotBegun: it is a draft.
    """
    if stored.status == "draft" or stored.started_at is None:
        raise NotBegun("Start it, then exposures are taken; with starts_at in the past it began then.")
    design = design_of(stored)
    ids = [item.customer_id for item in items]
    before = await store.exposed(connection, stored.id, ids)
    known = await store.audience(connection, ids, None)
    end = reading_end(observed_moment(settings), stored.ends_at, stored.stopped_at)
    names = [arm.name for arm in design.arms]
    taken: dict[UUID, Exposure] = {}
    rejected, duplicates = [], 0
    for index, item in enumerate(items):
        first = taken.get(item.customer_id) or before.get(item.customer_id)
        if item.arm is not None and item.arm not in names:
            problem = "there is no such arm"
        elif item.customer_id not in known:
            problem = "nothing is known of this customer here"
        elif not stored.started_at <= item.exposed_at <= end:
            problem = "exposed_at is not within the experiment's time"
        else:
            arm = names.index(item.arm) if item.arm else None
            if first is not None and arm is not None and arm != first.arm:
                problem = f"the customer was exposed to {names[first.arm]} before"
            else:
                duplicates += first is not None
                if first is None or item.exposed_at < first.exposed_at:
                    if arm is None:
                        hashed = place(design.salt or "", item.customer_id, design.shares)
                        arm = first.arm if first else hashed
                    taken[item.customer_id] = Exposure(arm, item.exposed_at)
                continue
        rejected.append(Rejected(index=index, problem=problem))
    if taken:
        await store.expose(connection, stored.id, taken)
    return ExposuresOut(
        accepted=len(items) - duplicates - len(rejected), duplicates=duplicates, rejected=rejected
    )


async def read_results(
    connection: asyncpg.Connection, settings: ScoringSettings, stored: Stored
) -> ResultsOut:
    """What came of an experiment so far.

    Raises:
        NotBegun: it is a draft.
    """
    return results(await _read(connection, settings, stored))


async def finish(connection: asyncpg.Connection, settings: ScoringSettings, stored: Stored) -> ResultsOut:
    """Stop a running experiment and keep what it measured of its arms' actions.

    From then on an action of the catalogue is chosen by the uplift that was measured, when the experiment
    told one: an effect that was shown, or as many customers as were asked for.

    Raises:
        NotRunning: it does not run.
    """
    now = observed_moment(settings)
    if not await store.stop(connection, stored.id, reading_end(now, stored.ends_at, None)):
        raise NotRunning("Only a running experiment can be stopped.")
    read = await _read(connection, settings, await required(connection, stored.id))
    report = results(read)
    if report.valid:
        found = _measured(read, now)
        await store.keep_measured(connection, stored.id, found)
        deciding = read.design.metrics[0] if read.design.metrics[0] in SHARES else "conversion"
        for one in found:
            told = one.low > 0 or one.high < 0 or one.customers >= read.planned
            if one.metric == deciding and one.action in KINDS and told:
                await note_measured(connection, one.action, one.uplift, str(stored.id))
    return report


async def finish_due(database: Database, settings: ScoringSettings) -> None:
    """The background job: finish experiments whose time is over."""
    for _ in range(MOST_FINISHED):
        async with database.pool.acquire() as connection, connection.transaction():
            due = await store.ended(connection, observed_moment(settings))
            if due is None:
                return
            await finish(connection, settings, await required(connection, due, lock=True))


def _measured(read: Read, now: datetime) -> list[Measured]:
    found = []
    for n, arm in enumerate(read.design.arms):
        for metric in dict.fromkeys(["conversion", *read.design.metrics]):
            compared = compare(read, n, metric) if arm.action and n != read.design.control else None
            if compared is None or compared[0].low is None or compared[0].high is None:
                continue
            comparison, effect = compared
            found.append(
                Measured(
                    action=arm.action or "",
                    metric=metric,
                    experiment_id=read.experiment_id,
                    uplift=comparison.difference,
                    low=compared[0].low,
                    high=compared[0].high,
                    customers=int(effect.customers),
                    measured_at=now,
                )
            )
    return found


async def _read(connection: asyncpg.Connection, settings: ScoringSettings, stored: Stored) -> Read:
    if stored.status == "draft":
        raise NotBegun("Start it, then there are results.")
    design = design_of(stored)
    window = window_of(settings, stored)
    metrics = list(dict.fromkeys([*design.metrics, "conversion", "revenue"]))
    reckoned = SizeOut.model_validate_json(stored.size) if stored.size else None
    return Read(
        experiment_id=stored.id,
        design=design,
        status=stored.status,
        planned=min(reckoned.any_time, 10**9) if reckoned else PLANNED_CUSTOMERS,
        until=window.until,
        over=stored.ends_at is not None and window.until >= stored.ends_at,
        counts=await outcomes.counts(connection, stored.id, window),
        moments=await outcomes.moments(connection, stored.id, metrics, window),
        margin=design.margin or settings.margin,
    )


def _closed(stored: Stored, now: datetime) -> str | None:
    """Why nobody new is assigned."""
    if stored.status == "stopped":
        return "the experiment was stopped"
    if stored.started_at is not None and now < stored.started_at:
        return "the experiment has not begun yet"
    if stored.ends_at is not None and now >= stored.ends_at:
        return "the experiment is over"
    return None


def _why_none(known: dict[UUID, bool], customer: UUID) -> str:
    return "not of the audience" if customer in known else "nothing is known of this customer here"
