"""The feedback service's assembly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.feedback.reactions import reactions
from services.feedback.section import section
from services.feedback.settings import FeedbackSettings
from services.feedback.surveys import routes as surveys
from services.feedback.text.reading import read
from services.feedback.tickets import routes as tickets
from shared.messaging.bus import Bus
from shared.web.app import create_service_app


def create_app(settings: FeedbackSettings | None = None, bus: Bus | None = None) -> FastAPI:
    """The feedback service.

    Args:
        settings: from the environment when left out.
        bus: the transport of events; made from the settings when left out.
    """
    settings = settings or FeedbackSettings()
    app = create_service_app(
        settings,
        title="Feedback",
        routers=[tickets.router, surveys.router, surveys.insights],
        reactions=[reactions(settings)],
        section=section(settings),
        bus=bus,
    )
    serve = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Reading loads its dictionaries on first use; ready means that the first feedback need not wait.
        await asyncio.to_thread(read, "你好")
        await asyncio.to_thread(read, "hello")
        async with serve(app):
            yield

    app.router.lifespan_context = lifespan
    return app
