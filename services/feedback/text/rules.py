"""How words become mood, category and severity. Pure: words and a lexicon in, values with reasons out.

Mood. Each mood word counts with its lexicon value, changed by the degree words and negations before it.
What follows a "but" counts more than what stands before it, a concluding clause counts double, and praise
inside a wish, a condition or a question ("would be nice if", "is it good?") counts nothing. With P the sum
of what is good and N of what is bad, mood = (P − N) / (P + N + 1): between -1 and 1, 0 when nothing was
said, and never certain from a single mild word.

Category. The evidence of each category's words is added up; the largest wins, its share is the confidence.

Severity. The highest level among the words, raised for complaints and anger, lowered for praise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from services.feedback.text.lexicon import CATEGORIES, Lexicon, Meaning
from services.feedback.text.words import Word, joiner

Severity = Literal["low", "normal", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("low", "normal", "high", "critical")

# A modifier reaches this many words ahead.
REACH = {"zh": 4, "en": 3}
# A negation takes a serious word back only from nearby: missing a real injury is worse than a false alarm.
NEGATION_REACH = {"zh": 2, "en": 3}
BEFORE_CONTRAST, AFTER_CONTRAST = 0.8, 1.2
CONCLUSION = 2.0
WISHED_OR_ASKED = 0.0
# "not good" is a little milder than "bad"; "not bad" is far from "good"; "not very good" is milder still.
NEGATED_PRAISE, NEGATED_BLAME, SOFTLY_NEGATED_PRAISE = -0.8, 0.4, -0.6
SMOOTHING = 1.0
# However it is strengthened, one word counts at most this much.
STRONGEST = 4.0
# A term repeated in one text counts at most this often towards its category.
REPEATS = 2
ANGRY, GLAD = -0.6, 0.4

FoundT = TypeVar("FoundT")


@dataclass(frozen=True, slots=True)
class Match:
    """Where a term was found and what it contributed, so that every reading can be explained."""

    start: int
    end: int
    says: str
    value: float


@dataclass(frozen=True, slots=True)
class MoodReading:
    """`value` from -1 to 1. `decided` is false when no word said anything."""

    value: float
    decided: bool
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class CategoryReading:
    """`confidence` is the winner's share of all evidence, 0 without any."""

    value: str
    confidence: float
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class SeverityReading:
    """`reasons` name the rules that moved the level beyond the words."""

    value: Severity
    reasons: tuple[str, ...]
    matches: tuple[Match, ...] = ()


def read_mood(words: Sequence[Word], lexicon: Lexicon) -> MoodReading:
    """The mood of a text."""
    matches: list[Match] = []
    for sentence, asked in _sentences(words):
        matches += _sentence_mood(sentence, lexicon, asked=asked)
    good = sum(match.value for match in matches if match.value > 0)
    bad = -sum(match.value for match in matches if match.value < 0)
    if good == bad == 0:
        return MoodReading(0.0, decided=False)
    return MoodReading(round((good - bad) / (good + bad + SMOOTHING), 3), True, tuple(matches))


def read_category(words: Sequence[Word], lexicon: Lexicon) -> CategoryReading:
    """What the text is about."""
    evidence: dict[str, float] = dict.fromkeys(CATEGORIES, 0.0)
    seen: dict[str, int] = {}
    matches: list[Match] = []
    for first, last, term in _found(words, lexicon.category.get, lexicon):
        key = " ".join(word.key for word in words[first:last])
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > REPEATS:
            continue
        for category, weight in term.items():
            evidence[category] += weight
            matches.append(Match(words[first].start, words[last - 1].end, category, weight))
    total = sum(evidence.values())
    if total == 0:
        return CategoryReading("other", 0.0)
    best = max(CATEGORIES, key=lambda category: evidence[category])
    return CategoryReading(best, round(evidence[best] / total, 3), tuple(matches))


def read_severity(
    words: Sequence[Word], lexicon: Lexicon, *, kind: str, mood: float, rating: float | None
) -> SeverityReading:
    """How much it matters.

    Args:
        kind: the feedback's kind; a complaint is never of the lowest level, praise at most of the second.
        mood: -1 to 1.
        rating: stars from 1 to 5, if any were given.
    """
    matches = [
        Match(words[first].start, words[last - 1].end, SEVERITIES[level], float(level))
        for first, last, level in _found(words, lexicon.severity.get, lexicon)
        if not _negated(words, first, lexicon)
    ]
    level = max((int(match.value) for match in matches), default=0)
    reasons = []
    if kind == "complaint" and level == 0:
        level = 1
        reasons.append("a complaint is at least normal")
    if level == 1 and (mood <= ANGRY or (rating is not None and rating <= 1)):
        level = 2
        reasons.append("raised for anger or the lowest rating")
    if level > 1 and (kind == "praise" or (kind != "complaint" and mood >= GLAD)):
        level = 1
        reasons.append("lowered for praise")
    return SeverityReading(SEVERITIES[level], tuple(reasons), tuple(matches))


def mood_of_rating(rating: float) -> float:
    """Stars from 1 to 5 as a mood; what lies outside counts as the nearest star."""
    return (min(max(rating, 1.0), 5.0) - 3.0) / 2.0


def _sentences(words: Sequence[Word]) -> Iterator[tuple[Sequence[Word], bool]]:
    """The sentences without what ends them, and whether each is a question."""
    start = 0
    for index, word in enumerate(words):
        if word.pause in ("sentence", "question"):
            yield words[start:index], word.pause == "question"
            start = index + 1
    yield words[start:], False


@dataclass(slots=True)
class _Modifier:
    at: int
    meaning: Meaning


def _sentence_mood(words: Sequence[Word], lexicon: Lexicon, *, asked: bool) -> list[Match]:
    """The mood words of one sentence with their final values."""
    found = list(_found(words, lexicon.mood.get, lexicon))
    asked = asked or any(meaning.role == "question" for _, _, meaning in found)
    contrast_at = max((first for first, _, m in found if m.role == "contrast"), default=None)
    matches: list[Match] = []
    modifiers: list[_Modifier] = []
    weight, in_wish, clause_end = 1.0, False, 0
    for first, last, meaning in found:
        if any(word.pause for word in words[clause_end:first]):
            modifiers.clear()
            in_wish = False
        clause_end = last
        match meaning.role:
            case "negator" | "degree":
                modifiers.append(_Modifier(last, meaning))
            case "conclusion":
                weight = CONCLUSION
            case "wish":
                in_wish = True
            case "degree_after":
                _strengthen(matches, words[first].start, meaning.value)
            case "mood" if meaning.value:
                value = _modified(meaning.value, modifiers, first, REACH[lexicon.language])
                modifiers.clear()
                value *= weight
                if contrast_at is not None:
                    value *= AFTER_CONTRAST if first > contrast_at else BEFORE_CONTRAST
                if (in_wish or asked) and value > 0:
                    value *= WISHED_OR_ASKED
                value = min(max(value, -STRONGEST), STRONGEST)
                if value:
                    matches.append(Match(words[first].start, words[last - 1].end, "mood", round(value, 3)))
    return matches


def _modified(value: float, modifiers: Sequence[_Modifier], at: int, reach: int) -> float:
    """A mood word's value after the degree words and negations that reach it."""
    factor, negated, softly = 1.0, False, False
    for modifier in reversed(modifiers):
        if at - modifier.at > reach:
            break
        if modifier.meaning.role == "negator":
            negated = not negated
            softly = softly or factor > 1
        else:
            factor *= modifier.meaning.value
        at = modifier.at - 1
    if not negated:
        return value * factor
    if value < 0:
        return value * -NEGATED_BLAME
    return value * (SOFTLY_NEGATED_PRAISE if softly else NEGATED_PRAISE * max(factor, 1.0))


def _strengthen(matches: list[Match], at: int, factor: float) -> None:
    """Apply a degree word to the mood word that it follows directly, a space between them allowed."""
    if matches and at - matches[-1].end in (0, 1):
        last = matches[-1]
        matches[-1] = replace(last, value=round(last.value * factor, 3))


def _negated(words: Sequence[Word], at: int, lexicon: Lexicon) -> bool:
    """Whether a negation stands shortly before in the same clause ("没有受伤", "no one was injured")."""
    for word in reversed(words[max(at - NEGATION_REACH[lexicon.language], 0) : at]):
        if word.pause:
            return False
        meaning = lexicon.mood.get(word.key)
        if meaning is not None and meaning.role == "negator":
            return True
    return False


def _found(
    words: Sequence[Word], look_up: Callable[[str], FoundT | None], lexicon: Lexicon
) -> Iterator[tuple[int, int, FoundT]]:
    """The terms in these words, the longest at each place, as (first word, word after the last, meaning)."""
    joint, beginnings = joiner(lexicon.language), lexicon.beginnings
    first = 0
    while first < len(words):
        longest: tuple[int, int, FoundT] | None = None
        key, last = words[first].key, first
        while key in beginnings:
            last += 1
            found = look_up(key)
            if found is not None:
                longest = first, last, found
            if last == len(words) or words[last].pause:
                break
            key += joint + words[last].key
        if longest is None:
            first += 1
        else:
            yield longest
            first = longest[1]
