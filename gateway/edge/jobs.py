"""/v1/admin/jobs: what all parts do by the clock."""

from fastapi import APIRouter, Request

from gateway.edge.everywhere import Part, ask_all, upstreams
from gateway.edge.schemas import BackgroundJob, BackgroundJobs
from shared.web.security import scope

router = APIRouter(prefix="/v1/admin/jobs", tags=["admin"])


@router.get("", dependencies=[scope("admin")])
async def list_jobs(request: Request, service: Part | None = None) -> BackgroundJobs:
    """Each part's background jobs: when they last ran and will run next, and what went wrong."""
    answers = await ask_all(request, [service] if service else list(upstreams(request)), "/internal/jobs")
    return BackgroundJobs(
        items=[
            BackgroundJob(service=part, **item) for part, items in answers.items() for item in items or []
        ],
        next_cursor=None,
        unavailable=[part for part, items in answers.items() if items is None],
    )
