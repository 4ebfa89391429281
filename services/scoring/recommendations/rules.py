"""What an item is made of, and recommendations in words. Pure."""

from collections.abc import Mapping
from datetime import date
from typing import Any

MOST_TRAITS = 200

Trait = str | int | float | bool | None


def traits(category: str | None, attributes: Mapping[str, Any]) -> list[str]:
    """What an item is, in words that are equal for items that are alike: its category, and for each
    attribute its value, or each of its values. Numbers are alike when they are equal."""
    found = [] if category is None else [f"category={category}"]
    for name, given in sorted(attributes.items()):
        values = given if isinstance(given, list) else [given]
        found += [f"{name}={value}" for value in values if value is not None]
    return found[:MOST_TRAITS]


def reason(
    parts: Mapping[str, float],
    *,
    goes_with: tuple[str, date] | None,
    customers: int | None,
    looks_like: tuple[str, date] | None,
    group: str,
) -> str:
    """Why an item is recommended: the part that adds most to its score, in words.

    `parts` are together, alike and popular, each times its weight; `group` is '' for everybody.
    """
    most = max(parts, key=lambda part: parts[part])
    if most == "together" and goes_with is not None:
        sku, on = goes_with
        by = f" by {customers} customers" if customers and customers > 1 else ""
        return f"bought with {sku}{by}, which they bought on {on}"
    if most == "alike" and looks_like is not None:
        sku, on = looks_like
        return f"like {sku}, which they bought on {on}"
    return f"bought most by customers with {group}" if group else "bought most of late"
