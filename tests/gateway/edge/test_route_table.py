"""The route table: which service answers, read from documents."""

from typing import Any

import pytest

from gateway.edge.route_table import MethodNotAllowed, RouteTable
from shared.problems import NotFound


def operation(service: str, *scopes: str, public: bool = False) -> dict[str, Any]:
    return {"x-c360-service": service, "security": [] if public else [{"key": list(scopes)}]}


DOCUMENT = {
    "paths": {
        "/v1/customers": {"get": operation("profile", "customers:read"), "post": operation("profile")},
        "/v1/customers/{id}": {"get": operation("profile", "customers:read")},
        "/v1/customers:resolve": {"post": operation("profile", "customers:write")},
        "/v1/customers/360": {"get": operation("gateway", "view:read")},
        "/v1/customers/360:batch": {"post": operation("gateway", "view:read")},
        "/v1/customers/{id}/360": {"get": operation("gateway", "view:read")},
        "/v1/models/{kind}:fit": {"post": operation("scoring", "scores:write")},
        "/v1/models/{kind}": {"get": operation("scoring", "scores:read")},
        "/v1/loyalty/{id}": {"get": operation("loyalty", "loyalty:read", "pii:read")},
        "/webhooks/{partner}": {"post": operation("gateway", public=True)},
    }
}


@pytest.fixture
def table() -> RouteTable:
    table = RouteTable()
    table.add_document(DOCUMENT)
    return table


@pytest.mark.parametrize(
    ("method", "path", "template", "service"),
    [
        ("GET", "/v1/customers", "/v1/customers", "profile"),
        ("GET", "/v1/customers/c1", "/v1/customers/{id}", "profile"),
        ("GET", "/v1/customers/360", "/v1/customers/360", "gateway"),
        ("GET", "/v1/customers/c1/360", "/v1/customers/{id}/360", "gateway"),
        ("POST", "/v1/customers/360:batch", "/v1/customers/360:batch", "gateway"),
        ("POST", "/v1/customers:resolve", "/v1/customers:resolve", "profile"),
        ("POST", "/v1/models/bg_nbd:fit", "/v1/models/{kind}:fit", "scoring"),
        ("GET", "/v1/models/bg_nbd", "/v1/models/{kind}", "scoring"),
        ("HEAD", "/v1/customers/c1", "/v1/customers/{id}", "profile"),
    ],
)
def test_the_most_exact_path_answers(
    table: RouteTable, method: str, path: str, template: str, service: str
) -> None:
    found = table.match(method, path)
    assert (found.template, found.service) == (template, service)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/nothing",
        "/",
        "",
        "v1/customers",
        "//v1/customers",
        "/v1/customers/",
        "/v1/customers/a/b/c",
        "/v1/customers/../loyalty",
        "/v1/customers/..",
        "/v1/customers/./360",
        "/v1/models/:fit/x",
        "/internal/sections/1",
    ],
)
def test_unknown_paths_are_not_found(table: RouteTable, path: str) -> None:
    with pytest.raises(NotFound):
        table.match("GET", path)


def test_a_wrong_method_names_the_right_ones(table: RouteTable) -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        table.match("DELETE", "/v1/customers")
    assert refused.value.headers == {"Allow": "GET, POST"}


def test_scopes_and_openness_come_from_the_document(table: RouteTable) -> None:
    assert table.match("GET", "/v1/loyalty/c1").scopes == ("loyalty:read", "pii:read")
    assert table.match("POST", "/webhooks/taobao").public
    assert not table.match("POST", "/v1/customers").public


def test_classes_of_routes(table: RouteTable) -> None:
    assert table.match("GET", "/v1/customers").rate_class == "read"
    assert table.match("POST", "/v1/customers").rate_class == "write"
    assert table.match("POST", "/v1/models/bg_nbd:fit").rate_class == "bulk"
    assert table.match("POST", "/v1/customers/360:batch").rate_class == "bulk"


def test_only_the_named_services_are_taken() -> None:
    table = RouteTable()
    table.add_document(DOCUMENT, only=frozenset({"profile"}))
    with pytest.raises(NotFound):
        table.match("POST", "/webhooks/taobao")
    assert table.match("GET", "/v1/customers/360").service == "profile"
