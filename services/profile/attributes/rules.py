"""Which of several sources' values is shown: survivorship. Pure.

The rule is "most trusted, then most recent": a source with more trust wins, among equals the latest
observation. A null is a value like any other, "there is none": where it wins, the attribute is not shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

RULE = "most_trusted_then_most_recent"
NAME = "name"
NAME_PATTERN = r"^[^\W_][\w.\- ]{0,63}$"
MAX_TEXT = 1_000
MAX_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Value:
    """What one source said of one attribute. `trust` from 0 to 100; `value` is JSON."""

    value: Any
    source: str
    trust: int
    observed_at: datetime

    @property
    def written(self) -> bytes:
        """The value as canonical JSON: what makes two values the same (in Python, 1 == True)."""
        return orjson.dumps(self.value, option=orjson.OPT_SORT_KEYS)


def survive(values: Iterable[Value]) -> list[Value]:
    """The values in the order of the rule: the first is shown, the others lost."""
    return sorted(values, key=lambda v: (v.trust, v.observed_at, v.source, v.written), reverse=True)


def observe(known: Sequence[Value], seen: Iterable[Value], *, keep: int) -> list[Value]:
    """The values after more were seen, in the order of the rule.

    The same value from the same source is one value, observed at the later time and with the trust that its
    source has now. Order of arrival makes no difference. At most `keep` stay; the worst leave.
    """
    merged: dict[tuple[str, bytes], Value] = {}
    for value in (*known, *seen):
        key = (value.source, value.written)
        before = merged.get(key)
        if before is None or before.observed_at <= value.observed_at:
            merged[key] = value
    trust = {value.source: value.trust for value in (*known, *seen)}
    return survive(replace(value, trust=trust[value.source]) for value in merged.values())[:keep]


def shown(values: Sequence[Value]) -> Any:
    """The value that is shown of an attribute, None when there is none."""
    return values[0].value if values else None
