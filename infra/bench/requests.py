"""Requests made beforehand: a file that both loaders send from, so that no side pays for making them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path


def http_request(method: str, path: str, *, headers: Mapping[str, str], body: bytes | None = None) -> bytes:
    """The bytes of one HTTP/1.1 request; `Host` is added, and `Content-Length` when there is a body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def json_body(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def write_requests(path: Path, requests: Iterable[bytes]) -> int:
    """Write them, each behind a line with its length; returns how many there are."""
    count = 0
    with path.open("wb") as stream:
        for request in requests:
            stream.write(b"%d\n" % len(request))
            stream.write(request)
            count += 1
    return count


def read_requests(path: Path) -> list[bytes]:
    """What `write_requests` wrote."""
    found = []
    with path.open("rb") as stream:
        while line := stream.readline():
            found.append(stream.read(int(line)))
    return found
