"""The lexicons: what a word of a customer says about mood, category and severity.

One TOML file per language beside this module, with a version that is stored with everything read by it, so
that old texts can be read again when the words change.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from services.feedback.text.words import Language, key_of

Role = Literal["negator", "contrast", "conclusion", "wish", "question", "degree", "degree_after", "mood"]

Category = Literal["product", "service", "logistics", "price", "account", "other"]
CATEGORIES: tuple[Category, ...] = get_args(Category)
_SEPARATOR = re.compile(r"[,\n]")
_ROLES: Mapping[str, Role] = {
    "negators": "negator",
    "contrast": "contrast",
    "conclusion": "conclusion",
    "wishes": "wish",
    "questions": "question",
}


class LexiconError(ValueError):
    """The file contradicts itself; named are the term and the two things it is said to be."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a term does to the mood. `value` is the mood itself, or the factor of a degree word."""

    role: Role
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Lexicon:
    """One language's words, keyed as `words.py` keys the words of a text.

    `beginnings` holds every term and what terms begin with, so that a search knows when to give up.
    """

    language: Language
    version: str
    mood: Mapping[str, Meaning]
    category: Mapping[str, Mapping[str, float]]
    severity: Mapping[str, int]
    terms: frozenset[str]
    beginnings: frozenset[str]


@cache
def lexicon(language: Language) -> Lexicon:
    """The lexicon of a language, read once per process."""
    path = Path(__file__).with_name(f"lexicon_{language}.toml")
    return parse(tomllib.loads(path.read_text(encoding="utf-8")), lambda term: key_of(term, language))


def parse(raw: Mapping[str, Any], key: Any) -> Lexicon:
    """Check and compile a lexicon file.

    Args:
        raw: the file, as TOML gives it.
        key: how a term is looked up later.

    Raises:
        LexiconError: a term has two meanings, or names a category or level that does not exist.
    """
    mood: dict[str, Meaning] = {}

    def add(term: str, meaning: Meaning) -> None:
        before = mood.setdefault(key(term), meaning)
        if before != meaning:
            raise LexiconError(f"{term!r} is both {before} and {meaning}")

    for group in raw["mood"]:
        for term in _split(group["terms"]):
            add(term, Meaning("mood", float(group["value"])))
    for name, role in _ROLES.items():
        for term in _split(raw["modifiers"][name]):
            add(term, Meaning(role))
    for group in raw["degree"]:
        after = group.get("position") == "after"
        for term in _split(group["terms"]):
            add(term, Meaning("degree_after" if after else "degree", float(group["factor"])))

    category: dict[str, dict[str, float]] = {}
    for group in raw["category"]:
        if group["name"] not in CATEGORIES:
            raise LexiconError(f"there is no category {group['name']!r}")
        for term in _split(group["terms"]):
            category.setdefault(key(term), {})[group["name"]] = float(group["weight"])

    severity: dict[str, int] = {}
    for group in raw["severity"]:
        for term in _split(group["terms"]):
            level = severity.setdefault(key(term), group["level"])
            if level != group["level"]:
                raise LexiconError(f"{term!r} is both of level {level} and {group['level']}")

    terms = frozenset(mood) | frozenset(category) | frozenset(severity)
    _inherit(category, terms)
    return Lexicon(
        language=raw["language"],
        version=raw["version"],
        mood=mood,
        category=category,
        severity=severity,
        terms=terms,
        beginnings=frozenset(term[:length] for term in terms for length in range(1, len(term) + 1)),
    )


def _inherit(category: dict[str, dict[str, float]], terms: frozenset[str]) -> None:
    """Give a longer term the category of the longest one inside it.

    Chinese terms are cut as one word, so "态度好" would otherwise hide that "态度" is about the service.
    """
    own = sorted(
        (term for term in category if len(term) > 1 and " " not in term and not term.isascii()), key=len
    )
    for term in terms - category.keys():
        for inner in reversed(own):
            if inner in term:
                category[term] = category[inner]
                break


def _split(terms: str) -> list[str]:
    return [term.strip() for term in _SEPARATOR.split(terms) if term.strip()]
