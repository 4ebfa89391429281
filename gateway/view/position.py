"""Where a stream stands: the id of its events, and what a reader sends back to go on from there. Pure.

An id names the last line of the journey that was sent (its position, counted per customer in commit order)
and the version of each section. Both only grow, and each tells everything up to it: lines by the lock under
which positions are given (gateway/view/timeline.py), sections because a later snapshot contains what the
ones before it said. So whatever lies beyond an id, and nothing else, is what its reader has missed.
"""

from typing import NamedTuple

from shared.contracts.sections import SECTIONS
from shared.problems import Malformed

_DIGITS = 18


class Position(NamedTuple):
    """The last line sent, and each section's version in the order of SECTIONS."""

    line: int
    versions: tuple[int, ...]

    def __str__(self) -> str:
        return ".".join(map(str, (self.line, *self.versions)))

    def after_line(self, line: int) -> "Position":
        """The position once this line is sent."""
        return Position(line, self.versions)

    def after_section(self, section: str, version: int) -> "Position":
        """The position once this snapshot is sent."""
        at = SECTIONS.index(section)
        return Position(self.line, (*self.versions[:at], version, *self.versions[at + 1 :]))

    def version_of(self, section: str) -> int:
        return self.versions[SECTIONS.index(section)]

    def not_beyond(self, other: "Position") -> "Position":
        """The lesser of both in every part: an id that was given before a backup was restored."""
        return Position(
            min(self.line, other.line), tuple(map(min, zip(self.versions, other.versions, strict=True)))
        )


def parse(event_id: str) -> Position:
    """Read an id that a reader sent back.

    Raises:
        Malformed: we have never given such an id.
    """
    parts = event_id.strip().split(".")
    if len(parts) != 1 + len(SECTIONS) or not all(
        part.isascii() and part.isdigit() and len(part) <= _DIGITS for part in parts
    ):
        raise Malformed("Last-Event-ID is not an id of this stream; leave it out to begin anew.")
    line, *versions = map(int, parts)
    return Position(line, tuple(versions))
