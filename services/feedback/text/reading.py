"""Reading a text: language, category, severity and mood, with the terms that said so.

Everything is offline and the same every time: the same text and lexicon version give the same reading.
"""

from dataclasses import dataclass, field
from typing import Literal, TypedDict

from services.feedback.text import rules
from services.feedback.text.chinese import chinese_words
from services.feedback.text.lexicon import lexicon
from services.feedback.text.words import Language, Word, detect_language, english_words

# A longer text is read up to here; what a customer wants is said by then.
READ_CHARACTERS = 5_000
KEPT_TERMS = 100

MoodSource = Literal["text", "rating", "none"]


class Term(TypedDict):
    """A term that was found: its words as written, where, and what it said with which weight."""

    term: str
    start: int
    says: str
    value: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says. `version` names the lexicon, None when no language was recognised."""

    language: str | None
    category: str
    category_confidence: float
    severity: rules.Severity
    severity_reasons: tuple[str, ...]
    mood: float
    mood_source: MoodSource
    version: str | None
    terms: tuple[Term, ...] = field(default=())


def read(text: str, *, kind: str = "review", rating: float | None = None) -> Reading:
    """Read what a customer wrote.

    Args:
        text: anything; may be empty.
        kind: the feedback's kind, which moves the severity.
        rating: stars from 1 to 5; gives the mood when no word does.
    """
    text = text[:READ_CHARACTERS]
    language = detect_language(text)
    known = lexicon(language or "en")
    found = words(text, known.language) if language else []
    mood = rules.read_mood(found, known)
    value, source = _mood(mood, rating)
    category = rules.read_category(found, known)
    severity = rules.read_severity(found, known, kind=kind, mood=value, rating=rating)
    matches = (*mood.matches, *category.matches, *severity.matches)
    return Reading(
        language=language,
        category=category.value,
        category_confidence=category.confidence,
        severity=severity.value,
        severity_reasons=severity.reasons,
        mood=value,
        mood_source=source,
        version=f"{known.language}-{known.version}" if language else None,
        terms=tuple(
            Term(term=text[m.start : m.end], start=m.start, says=m.says, value=m.value)
            for m in sorted(matches, key=lambda m: (m.start, m.says))[:KEPT_TERMS]
        ),
    )


def words(text: str, language: Language) -> list[Word]:
    """The text's words and pauses in order."""
    return list(chinese_words(text) if language == "zh" else english_words(text))


def _mood(read: rules.MoodReading, rating: float | None) -> tuple[float, MoodSource]:
    if read.decided:
        return read.value, "text"
    if rating is not None:
        return rules.mood_of_rating(rating), "rating"
    return 0.0, "none"
