"""Learning what goes with what, when asked and when enough has changed; offering it to a customer."""

import asyncio
import time
from datetime import date, timedelta
from uuid import UUID

import asyncpg

from services.scoring.background import Background
from services.scoring.recommendations import items, store, worker
from services.scoring.recommendations.neighbours import Terms
from services.scoring.recommendations.rules import reason, traits
from services.scoring.recommendations.schemas import NotKnown, PartsOut, RecommendationOut, RecommendationsOut
from services.scoring.settings import ScoringSettings
from shared.clock import utc_now
from shared.database import Database
from shared.problems import NotFound

LEAST_GROUP = 20  # customers of whom it says something what most of them buy
MOST_GROUPS = 100
AROUND_S = 300.0  # for reading and writing, beside the computing's own limit


async def fit(database: Database, settings: ScoringSettings, observed: date) -> int:
    """Learn from all purchases as of the observation date; what was learnt serves at once.

    Raises:
        NoLines, TooFewItems, TooFewCustomers: there is nothing to learn from; what served goes on serving.
        TookTooLong: it was stopped.
    """
    began = time.monotonic()
    async with database.pool.acquire() as connection:
        known = await store.last_change(connection)
        try:
            task, first, groups = await _read(connection, settings, observed)
            worker.check(task)
        except worker.NOTHING_TO_LEARN:
            await store.settle_changes(connection, known)  # what comes later may be enough
            raise
    learnt = await worker.run(task, timeout_s=settings.fit_timeout_s)
    if learnt.quality is not None:
        learnt.quality["split_on"] = str(observed - timedelta(days=task.split_days))
    async with database.pool.acquire() as connection:
        async with connection.transaction():
            await store.write(
                connection,
                task.version,
                learnt,
                terms=task.terms,
                groups=groups,
                window=(first, observed),
                seconds=time.monotonic() - began,
            )
            await store.settle_changes(connection, known)
        await store.tidy(connection)
    return task.version


def refreshing(settings: ScoringSettings) -> Background:
    """The background job that learns anew when enough has changed."""

    async def due(connection: asyncpg.Connection) -> bool:
        return await store.enough_changed(
            connection,
            share=settings.recommend_share,
            quiet_s=settings.recommend_quiet_s,
            wait_s=settings.recommend_wait_s,
        )

    async def learn(database: Database) -> None:
        await fit(database, settings, settings.observed(utc_now()))

    return Background("recommendations", within_s=settings.fit_timeout_s + AROUND_S, due=due, work=learn)


async def recommend(
    connection: asyncpg.Connection, settings: ScoringSettings, customer_id: UUID, observed: date, limit: int
) -> RecommendationsOut:
    """What to offer a customer, and what is not known of them.

    Raises:
        NotFound: nobody is known by this id.
    """
    customer = await store.find_customer(connection, customer_id, settings.recommend_group)
    if customer is None:
        raise NotFound("Nothing is known of this customer here.")
    models = await store.list_models(connection, before=None, limit=1)
    unknown: list[NotKnown] = []
    offers: list[store.Offer] = []
    group = 0
    if models:
        model = models[0]
        if customer.grouping in model.groups[1:]:
            group = model.groups.index(customer.grouping)
        offers = await store.recommend(
            connection, customer.customer_id, observed=observed, model=model, group=group, limit=limit
        )
        unknown = _unknown(settings, customer, offers, group)
    else:
        unknown.append(
            NotKnown(
                what="recommendations",
                why="nothing has been learnt yet: send purchases with lines that name a sku; "
                "POST /v1/recommendations:fit learns from them at once",
            )
        )
    return RecommendationsOut(
        customer_id=customer.customer_id,
        merged_into=customer.customer_id if customer.customer_id != customer_id else None,
        as_of=observed,
        model=f"recommendations/{models[0].version}" if models else None,
        items=[
            _shown(offer, models[0].terms, f"{settings.recommend_group} {customer.grouping}" if group else "")
            for offer in offers
        ],
        unknown=unknown,
    )


async def _read(
    connection: asyncpg.Connection, settings: ScoringSettings, observed: date
) -> tuple[worker.Task, date, list[str]]:
    """The task, the first day with purchases of items, and the groups' names."""
    await items.find_in_lines(connection)
    first = await store.first_day(connection)
    if first is None or first > observed:
        raise worker.NoLines("Send purchases with lines that name a sku: they tell what goes with what.")
    held_back = int((observed - first).days * settings.hold_out_share)
    groups = await store.read_groups(connection, settings.recommend_group, LEAST_GROUP, MOST_GROUPS)
    pairs = await store.read_pairs(
        connection,
        observed,
        observed - timedelta(days=held_back),
        most_per_customer=settings.recommend_basket,
        most=settings.recommend_pairs,
        attribute=settings.recommend_group,
        groups=groups,
    )
    catalogue = await store.read_catalogue(connection, settings.recommend_items)
    task = worker.Task(
        customer=pairs.customer,
        item=pairs.item,
        age_days=pairs.age_days,
        seen_age_days=pairs.seen_age_days,
        grouping=pairs.grouping,
        numbers=[item.number for item in catalogue],
        traits=await asyncio.to_thread(
            lambda: [traits(item.category, item.attributes) for item in catalogue]
        ),
        groups=len(groups),
        split_days=held_back,
        terms=terms_of(settings),
        version=await store.next_version(connection),
    )
    return task, first, groups


def terms_of(settings: ScoringSettings) -> Terms:
    """How these settings want it learnt and mixed."""
    return Terms(
        half_life_days=settings.recommend_half_life_days,
        neighbours=settings.recommend_neighbours,
        support=settings.recommend_support,
        together=settings.recommend_together,
        alike=settings.recommend_alike,
        popular=settings.recommend_popular,
    )


def _shown(offer: store.Offer, terms: Terms, group: str) -> RecommendationOut:
    parts = {
        "together": terms.together * offer.together,
        "alike": terms.alike * offer.alike,
        "popular": terms.popular * offer.popular,
    }
    return RecommendationOut(
        sku=offer.sku,
        category=offer.category,
        price=offer.price,
        currency=offer.currency,
        score=offer.score,
        reason=reason(
            parts,
            goes_with=_source(offer.goes_with, offer.goes_with_on),
            customers=offer.customers,
            looks_like=_source(offer.looks_like, offer.looks_like_on),
            group=group,
        ),
        parts=PartsOut(**parts),
    )


def _source(sku: str | None, on: date | None) -> tuple[str, date] | None:
    return (sku, on) if sku is not None and on is not None else None


def _unknown(
    settings: ScoringSettings,
    customer: store.KnownCustomer,
    offers: list[store.Offer],
    group: int,
) -> list[NotKnown]:
    found = []
    if not offers:
        found.append(("recommendations", "they have bought all there is in stock, or nothing is in stock"))
    if customer.purchases == 0:
        found.append(("taste", "no purchase is known, so what others buy stands in"))
    elif customer.bare:
        found.append(("taste", f"{customer.bare} of their purchases name no items"))
    if settings.recommend_group is not None and group == 0:
        found.append(("group", f"too little is known of their {settings.recommend_group}"))
    if untold := sum(not offer.told for offer in offers):
        found.append(("stock", f"nobody has told the stock of {untold} of the items: PUT /v1/items/{{sku}}"))
    if customer.changes:
        found.append(("changes", f"{customer.changes} lines or items came after this was learnt"))
    return [NotKnown(what=what, why=why) for what, why in found]
