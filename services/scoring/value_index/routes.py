"""HTTP of the value index: read how it is weighed, and set it."""

from fastapi import APIRouter, Response

from services.scoring.value_index import store
from services.scoring.value_index.ahp import consistent
from services.scoring.value_index.rules import levels, measure_weights
from services.scoring.value_index.schemas import LevelOut, ValueIndexIn, ValueIndexOut
from shared.database import raw
from shared.problems import PreconditionFailed
from shared.web.dependencies import Session
from shared.web.etag import IfMatch, set_etag
from shared.web.security import scope

router = APIRouter(prefix="/v1/value-index", tags=["scoring"])


@router.get("", dependencies=[scope("scores:read")])
async def read_value_index(session: Session, response: Response) -> ValueIndexOut:
    """How the value index is weighed, how consistent the comparisons are, and customers by grade."""
    return await _show(session, response)


@router.put("", dependencies=[scope("scores:write")])
async def set_value_index(
    body: ValueIndexIn, if_match: IfMatch, session: Session, response: Response
) -> ValueIndexOut:
    """Set the comparisons that the index is weighed by; all customers are indexed anew in the background.

    Comparisons that contradict one another (a consistency ratio above 0.10) are refused (409), and the one
    that fits least is named.
    """
    for weights in levels(body.setup()).values():
        consistent(weights)
    if await store.change_setup(await raw(session), if_match, body.model_dump_json()) is None:
        raise PreconditionFailed("Read it again, then send the change with its new ETag.")
    return await _show(session, response)


async def _show(session: Session, response: Response) -> ValueIndexOut:
    connection = await raw(session)
    state = await store.read_state(connection)
    said = ValueIndexIn.model_validate_json(state.setup)
    found = levels(said.setup())
    set_etag(response, state.version)
    return ValueIndexOut(
        version=state.version,
        comparisons=said,
        levels={name: LevelOut.of(weights) for name, weights in found.items()},
        weights=measure_weights(found),
        grades=await store.grades(connection),
        running=state.due or state.after is not None,
    )
