"""The description of everything: OpenAPI, AsyncAPI and a page to read and try it, without any CDN.

Swagger UI comes from the wheel of fastapi-offline, the one package here that carries a version which knows
OpenAPI 3.1 (5.32; swagger-ui-bundle is at 4.15).
"""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from gateway.edge.route_table import Operation, RouteTable
from shared.contracts.sections import SECTIONS
from shared.problems import NotFound
from shared.telemetry import logger

router = APIRouter(include_in_schema=False)

ASSETS = Path(str(files("fastapi_offline"))) / "static"
KINDS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "favicon.png": "image/png"}
PUBLIC = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/asyncapi.json",
    "/docs",
    "/docs/start.js",
    "/docs/{asset}",
)
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Customer 360</title>
<link rel="icon" href="/docs/favicon.png"><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="page"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#page", deepLinking: true, persistAuthorization: false, validatorUrl: null
});
"""
POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"


def route_table(own: Mapping[str, Any], published: Path) -> RouteTable:
    """Every operation of the system.

    Args:
        own: the OpenAPI document of the gateway's own routes.
        published: the folder of the document that names the services' routes.
    """
    table = RouteTable()
    for path in PUBLIC:
        table.add(Operation("GET", path, "gateway", (), public=True, streams=False))
    table.add_document(own)
    document = published / "openapi.json"
    if document.exists():
        table.add_document(orjson.loads(document.read_bytes()), only=frozenset(SECTIONS))
    else:
        logger(part="routes").warning("no published openapi.json: nothing is forwarded", path=str(document))
    return table


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The published OpenAPI document."""
    return _published(request, "openapi.json")


@router.get("/asyncapi.json")
async def asyncapi(request: Request) -> Response:
    """The published AsyncAPI document."""
    return _published(request, "asyncapi.json")


@router.get("/docs")
async def docs() -> Response:
    """The page."""
    return Response(PAGE, media_type="text/html", headers={"Content-Security-Policy": POLICY})


@router.get("/docs/start.js")
async def start() -> Response:
    """What the page runs; a file of its own, so that no inline script needs to be allowed."""
    return Response(START, media_type="text/javascript")


@router.get("/docs/{asset}")
async def asset(asset: str) -> Response:
    """A file of Swagger UI."""
    if asset not in KINDS:
        raise NotFound("There is no such file.")
    return FileResponse(ASSETS / asset, media_type=KINDS[asset], headers={"Cache-Control": "max-age=86400"})


def _published(request: Request, name: str) -> Response:
    settings: Any = request.app.state.settings
    path: Path = settings.published / name
    if not path.exists():
        raise NotFound("This document has not been generated; run `c360 schemas`.")
    return FileResponse(path, media_type="application/json", headers={"Cache-Control": "no-cache"})
