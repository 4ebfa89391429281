"""HTTP of the items: what there is to sell."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from services.scoring.recommendations import items
from services.scoring.recommendations.schemas import ItemBatch, ItemBatchOut, ItemIn, ItemOut
from shared.database import raw
from shared.problems import NotFound, PreconditionFailed, PreconditionRequired
from shared.web.dependencies import Session
from shared.web.etag import OptionalIfMatch, require_version, set_etag
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.security import scope

router = APIRouter(prefix="/v1/items", tags=["scoring"])

STORABLE = r"^[^\x00]*$"
ItemSku = Annotated[str, Path(min_length=1, max_length=100, pattern=STORABLE)]


@router.get("", dependencies=[scope("scores:read")])
async def list_items(
    session: Session,
    category: Annotated[
        str | None, Query(max_length=100, pattern=STORABLE, description="Only items of this category.")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[ItemOut]:
    """The items that are known, by their skus: told of here, or named by purchases when last learnt from."""
    after = decode_cursor(cursor, _sku)[0] if cursor else ""
    found = await items.list_items(await raw(session), after=after, category=category, limit=limit + 1)
    return Page(
        items=[ItemOut.of(item) for item in found[:limit]],
        next_cursor=encode_cursor(found[limit - 1].sku) if len(found) > limit else None,
    )


@router.post(":batch", dependencies=[scope("scores:write")])
async def tell_items(body: ItemBatch, session: Session) -> ItemBatchOut:
    """Tell of many items at once, each as it is now; telling the same again changes nothing."""
    created, changed = await items.tell(await raw(session), [given.item(given.sku) for given in body.items])
    return ItemBatchOut(created=created, changed=changed, unchanged=len(body.items) - created - changed)


@router.get("/{sku}", dependencies=[scope("scores:read")])
async def read_item(sku: ItemSku, session: Session, response: Response) -> ItemOut:
    """One item."""
    return await _show(sku, session, response)


@router.put("/{sku}", dependencies=[scope("scores:write")])
async def tell_item(
    sku: ItemSku, body: ItemIn, if_match: OptionalIfMatch, session: Session, response: Response
) -> ItemOut:
    """Tell what an item is and whether it is in stock; new items are recommended once they are learnt of.

    Whoever changes an item that was told of before sends the ETag they read.
    """
    connection = await raw(session)
    before = await items.show(connection, sku, lock=True)
    if before is None and if_match is not None:
        raise PreconditionFailed("There is no such item yet; send it without If-Match.")
    if before is not None:
        if if_match is not None:
            require_version(before.version, if_match)
        elif before.told:
            raise PreconditionRequired("Send If-Match with the ETag that you read.")
    await items.tell(connection, [body.item(sku)])
    if before is None:
        response.status_code = 201
    return await _show(sku, session, response)


async def _show(sku: str, session: Session, response: Response) -> ItemOut:
    found = await items.show(await raw(session), sku)
    if found is None:
        raise NotFound("There is no such item.")
    set_etag(response, found.version)
    return ItemOut.of(found)


def _sku(value: object) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError("no sku")
    return value
