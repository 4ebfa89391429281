"""Which service answers a path and who may ask: read from OpenAPI documents. Pure.

The published document is the table; there is no second list of paths to keep in step with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.problems import NotFound, Problem

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
SERVICE = "x-c360-service"
BULK_ENDINGS = (":batch", ":fit", ":evaluate", ":allocate", "/imports")

RateClass = Literal["read", "write", "bulk"]


class MethodNotAllowed(Problem):
    """The path exists, the method there does not; `Allow` names those that do."""

    slug, title, status = "method-not-allowed", "This method is not for this path", 405


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path template."""

    method: str
    template: str
    service: str
    scopes: tuple[str, ...]
    public: bool
    streams: bool

    @property
    def rate_class(self) -> RateClass:
        if self.template.endswith(BULK_ENDINGS):
            return "bulk"
        return "read" if self.method in ("GET", "HEAD") else "write"


@dataclass(slots=True)
class _Node:
    """One segment of the paths: exact names first, then a parameter with a fixed ending, then any."""

    literal: dict[str, "_Node"] = field(default_factory=dict)
    ending: dict[str, "_Node"] = field(default_factory=dict)
    anything: "_Node | None" = None
    operations: dict[str, Operation] = field(default_factory=dict)


class RouteTable:
    """All operations of a system, found by method and path in time that does not grow with their number."""

    def __init__(self) -> None:
        self._root = _Node()

    def add_document(self, document: Mapping[str, Any], *, only: frozenset[str] | None = None) -> None:
        """Add a document's operations; `only` keeps those of the named services."""
        default = document.get("security", [])
        for template, item in document.get("paths", {}).items():
            for method in METHODS:
                if method in item and (only is None or item[method].get(SERVICE, "gateway") in only):
                    self.add(operation_of(method, template, item[method], default))

    def add(self, operation: Operation) -> None:
        """Add one operation; the first one for a method and path stays."""
        node = self._root
        for segment in operation.template.strip("/").split("/"):
            node = _descend(node, segment)
        node.operations.setdefault(operation.method, operation)

    def match(self, method: str, path: str) -> Operation:
        """The operation for a request.

        Raises:
            NotFound: no such path.
            MethodNotAllowed: not with this method.
        """
        segments = path.split("/")
        if segments[0] != "" or len(segments) < 2:
            raise NotFound("There is no such path.")
        node = _find(self._root, segments, 1)
        if node is None:
            raise NotFound("There is no such path.")
        operation = node.operations.get(method)
        if operation is None and method == "HEAD":
            operation = node.operations.get("GET")
        if operation is None:
            allow = ", ".join(sorted(node.operations))
            raise MethodNotAllowed(f"This path takes {allow}.", headers={"Allow": allow})
        return operation


def operation_of(
    method: str, template: str, described: Mapping[str, Any], default_security: list[Any]
) -> Operation:
    """Read one operation object. An empty `security` makes it public."""
    security = described.get("security", default_security)
    scopes = {scope for requirement in security for wanted in requirement.values() for scope in wanted}
    contents = described.get("responses", {}).get("200", {}).get("content", {})
    return Operation(
        method=method.upper(),
        template=template,
        service=described.get(SERVICE, "gateway"),
        scopes=tuple(sorted(scopes)),
        public=not security,
        streams="text/event-stream" in contents,
    )


def _descend(node: _Node, segment: str) -> _Node:
    if not segment.startswith("{"):
        return node.literal.setdefault(segment, _Node())
    ending = segment.partition("}")[2]
    if ending:
        return node.ending.setdefault(ending, _Node())
    if node.anything is None:
        node.anything = _Node()
    return node.anything


def _find(node: _Node, segments: list[str], at: int) -> _Node | None:
    if at == len(segments):
        return node if node.operations else None
    segment = segments[at]
    if not segment or segment in (".", ".."):
        return None
    if segment in node.literal and (found := _find(node.literal[segment], segments, at + 1)):
        return found
    for ending, child in node.ending.items():
        if segment.endswith(ending) and len(segment) > len(ending):
            found = _find(child, segments, at + 1)
            if found:
                return found
    return _find(node.anything, segments, at + 1) if node.anything else None
