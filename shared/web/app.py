"""What every service is made of: one function that turns a service's own parts into a running app."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from fastapi import APIRouter, FastAPI

from shared.database import Database
from shared.housekeeping import tidy
from shared.jobs import Job, run_jobs
from shared.messaging.bus import Bus
from shared.messaging.consumer import Consumer
from shared.messaging.local import LocalBus
from shared.messaging.rabbit import RabbitBus
from shared.messaging.reactions import Reactions
from shared.messaging.relay import Relay
from shared.messaging.sections import Section
from shared.settings import ServiceSettings
from shared.telemetry import configure_logging, logger
from shared.web.health import health_router
from shared.web.internal import internal_router
from shared.web.middleware import RequestContext
from shared.web.problems import install_problem_handlers
from shared.web.security import TokenVerifier

RETRY_TICK_S = 0.5
HOUSEKEEPING = Job("housekeeping", 3600, tidy)


def create_service_app(
    settings: ServiceSettings,
    *,
    title: str,
    routers: Sequence[APIRouter] = (),
    reactions: Sequence[Reactions] = (),
    section: Section | None = None,
    jobs: Sequence[Job] = (),
    bus: Bus | None = None,
    version: str = "1",
) -> FastAPI:
    """A service: its routes, reactions, section and jobs on the common plumbing.

    Args:
        bus: a transport that is already running (the embedded default shares one); otherwise the service
            makes its own, RabbitMQ when `amqp_url` is set.
    """
    configure_logging(settings.log_level)
    missing = {r.group: r.missing() for r in reactions if r.missing()}
    if missing:
        raise ValueError(f"subscribed without a reaction: {missing}")
    app = FastAPI(
        title=title,
        version=version,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.settings = settings
    app.state.given_bus = bus
    app.state.reactions = list(reactions)
    app.state.section = section
    app.state.jobs = [HOUSEKEEPING, *jobs]
    app.state.verifier = TokenVerifier(settings.internal_secret.get_secret_value())
    install_problem_handlers(app)
    app.add_middleware(RequestContext, service=settings.name, body_limit_bytes=settings.body_limit_bytes)
    # A route is found by trying one after the other, so what callers ask for most comes first.
    for router in (*routers, health_router(), internal_router(section)):
        app.include_router(router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open, run, and drain: stop taking, finish what is in hand, acknowledge, close."""
    settings: ServiceSettings = app.state.settings
    database = app.state.database = Database(settings)
    await database.open()
    own_bus = app.state.given_bus is None
    bus = app.state.bus = app.state.given_bus or _make_bus(app)
    consumers = [Consumer(reactions, database) for reactions in app.state.reactions]
    relay = app.state.relay = Relay(database, bus, app.state.section)
    for consumer in consumers:
        deliver = _delivering(consumer, relay) if consumer.emits else consumer.deliver
        bus.subscribe(consumer.group, deliver, batch=settings.consumer_batch)
    if own_bus:
        await bus.start()
    tasks = [
        asyncio.create_task(relay.run(), name=f"{settings.name} relay"),
        asyncio.create_task(run_jobs(database, app.state.jobs, relay.wake), name=f"{settings.name} jobs"),
        asyncio.create_task(_retry(consumers, relay), name=f"{settings.name} retries"),
    ]
    try:
        yield
    finally:
        if own_bus:
            await bus.close()
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(tasks, timeout=settings.shutdown_s)
        await database.close()


def _make_bus(app: FastAPI) -> Bus:
    settings: ServiceSettings = app.state.settings
    if settings.amqp_url is None:
        return LocalBus([reactions.group for reactions in app.state.reactions])
    return RabbitBus(settings.amqp_url, prefix=settings.amqp_prefix, client=settings.name)


def _delivering(consumer: Consumer, relay: Relay):  # type: ignore[no-untyped-def]
    """Deliver, then publish at once what the reactions emitted."""

    async def deliver(envelopes: Sequence[bytes]) -> None:
        await consumer.deliver(envelopes)
        relay.wake()

    return deliver


async def _retry(consumers: Sequence[Consumer], relay: Relay) -> None:
    """Give failed events their next try when it is due."""
    log = logger(part="retries")
    while True:
        for consumer in consumers:
            try:
                if await consumer.retry_due():
                    relay.wake()
            except Exception as error:  # the next round tries again
                log.warning("retries paused", consumer=consumer.group, error=type(error).__name__)
        await asyncio.sleep(RETRY_TICK_S)
