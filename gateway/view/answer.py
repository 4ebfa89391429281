"""How a 360 answer is put together: stored bytes are joined, never parsed. Pure.

What the words of `meta` mean:

- `ok`: the section is as the service last published it (source `view`) or as it stands now (`live`). It may
  be null: the service knows nothing of the customer, who has no tickets, say. That is an answer.
- `stale`: it was asked for live, the service did not answer, and the view's copy is shown.
- `unavailable`: there is nothing to show and there ought to be: every customer has a profile, so a view
  that has heard of a customer without one is still waiting for it; or the service did not answer a live
  read and the view has never heard of the section.

`complete` is true when no section of the answer is unavailable.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from shared.contracts.sections import SECTIONS
from shared.problems import FieldError, Invalid

Status = Literal["ok", "stale", "unavailable"]
Source = Literal["view", "live"]


class Shown(NamedTuple):
    """One section as an answer shows it; `body` is JSON text or null, `version` 0 when never received."""

    body: str | None
    status: Status
    source: Source
    version: int
    as_of: str | None


EMPTY = Shown(None, "ok", "view", 0, None)
MISSING = Shown(None, "unavailable", "view", 0, None)

# A row of view_sections: section, version, as_of as JSON text in UTC, body.
Row = tuple[str, int, str, str | None]


def from_rows(rows: Iterable[Row]) -> dict[str, Shown] | None:
    """All four sections from a customer's rows of the view; None when the customer is not known.

    A profile that says nothing is known any more ends the customer, whatever the others still hold.
    """
    shown = {"profile": MISSING, "feedback": EMPTY, "loyalty": EMPTY, "scoring": EMPTY}
    anything = False
    for section, version, as_of, body in rows:
        anything = anything or body is not None
        shown[section] = Shown(body, "ok", "view", version, as_of[1 : -len('+00:00"')] + "Z")
    profile = shown["profile"]
    gone = profile.body is None and profile is not MISSING
    return shown if anything and not gone else None


def compose(customer_id: UUID | str, shown: Mapping[str, Shown], wanted: Sequence[str] = SECTIONS) -> bytes:
    """The 360 answer as JSON; sections that were not asked for are left out, of `meta` too."""
    bodies, meta = [], []
    complete = "true"
    for section in wanted:
        body, status, source, version, as_of = shown[section]
        if status == "unavailable":
            complete = "false"
        bodies.append(f'"{section}":{"null" if body is None else body},')
        at = "null" if as_of is None else f'"{as_of}"'
        meta.append(
            f'"{section}":{{"status":"{status}","source":"{source}","version":{version},"as_of":{at}}}'
        )
    return (
        f'{{"customer_id":"{customer_id}","merged_into":null,{"".join(bodies)}'
        f'"meta":{{"complete":{complete},"sections":{{{",".join(meta)}}}}}}}'
    ).encode()


def entity_tag(customer_id: UUID | str, shown: Mapping[str, Shown]) -> str:
    """The answer's entity tag. A version is given once per section, so equal tags mean equal bytes."""
    versions = ".".join([str(shown[section].version) for section in SECTIONS])
    return f'"{customer_id}.{versions}"'


def unchanged(if_none_match: str, tag: str) -> bool:
    """Whether the caller already holds this answer (RFC 9110, section 13.1.2: weak comparison)."""
    if if_none_match == tag:
        return True
    return any(held.strip().removeprefix("W/") in (tag, "*") for held in if_none_match.split(","))


def choose(given: str | None, parameter: str, default: Sequence[str] = SECTIONS) -> Sequence[str]:
    """The sections of a comma-separated parameter, in the answer's order.

    Raises:
        Invalid: a name is not a section's.
    """
    if given is None:
        return default
    names = {name.strip() for name in given.split(",")}
    if not names.issubset(SECTIONS):
        known = ", ".join(SECTIONS)
        raise Invalid(errors=[FieldError(f"query:{parameter}", f"Name one or more of {known}.")])
    return [section for section in SECTIONS if section in names]


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC; the moment is in UTC already, as everything that comes from the database."""
    return moment.isoformat()[: -len("+00:00")] + "Z"
