"""From a text to words: which language it is in, and where its words and pauses are.

Chinese is cut by rjieba, which knows the lexicon's terms as words too; English by a pattern, its endings
folded so that one lexicon entry finds a word's forms.
"""

import re
import threading
from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

from services.feedback.text.lexicon import Language, lexicon

Pause = Literal["", "clause", "sentence", "question"]

# Share of Chinese among a text's words from which it is Chinese. Chinese texts are full of Latin names
# ("iPhone 15 Pro Max 很好用"); English ones hold Chinese words rarely.
CHINESE_FROM = 0.2
# A written Chinese word has about one and a half characters.
CHARACTERS_PER_WORD = 1.5

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LATIN = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_ENGLISH = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+|[.!?;\n]+|[,:()\-–—]+")
_SENTENCE = frozenset("。！!；;\n~～…")
_QUESTION = frozenset("？?")
_CLAUSE = frozenset("，,、：:（）()—-\u3000 ")
_ENDINGS = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("e", ""))
_SHORTEST_STEM = 3
_VOWELS = frozenset("aeiouy")
# Forms that mean something else than their stem.
_AS_IS = frozenset({"pleased", "made"})

_jieba_lock = threading.Lock()


class Word(NamedTuple):
    """A word or a pause. `key` is its form in the lexicon, `start` its first character in the text."""

    key: str
    start: int
    end: int
    pause: Pause = ""


def detect_language(text: str) -> Language | None:
    """Chinese, English, or None when there is neither in it.

    Between these two the script decides; a language model would take 90 MB to say the same.
    """
    chinese = len(_HAN.findall(text)) / CHARACTERS_PER_WORD
    english = len(_LATIN.findall(text))
    if chinese + english == 0:
        return None
    return "zh" if chinese / (chinese + english) >= CHINESE_FROM else "en"


def words(text: str, language: Language) -> list[Word]:
    """The text's words and pauses in order."""
    return list(_chinese(text) if language == "zh" else _english(text))


def key_of(term: str, language: Language) -> str:
    """The form in which a lexicon term of one or more words is looked up."""
    if language == "zh":
        return term
    return " ".join(word.key for word in _english(term) if word.key)


def joiner(language: Language) -> str:
    """What stands between the words of a term's key."""
    return "" if language == "zh" else " "


def fold(word: str) -> str:
    """An English word without its ending: charge, charges, charged and charging become one."""
    if word in _AS_IS:
        return word
    for ending, instead in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < _SHORTEST_STEM or not _VOWELS & set(stem):
            continue
        if ending == "s" and word.endswith(("ss", "us", "is")):
            continue
        stem += instead
        if (
            ending in ("ing", "ed")
            and len(stem) > _SHORTEST_STEM
            and stem[-1] == stem[-2]
            and stem[-1] not in "lsz"
        ):
            stem = stem[:-1]
        if ending in ("ing", "ed", "es") and stem.endswith("e") and len(stem) > _SHORTEST_STEM:
            stem = stem[:-1]
        return stem
    return word


def _chinese(text: str) -> Iterator[Word]:
    start = 0
    for piece in _cut(text):
        end = start + len(piece)
        pause = _pause(piece)
        if pause:
            yield Word("", start, end, pause)
        else:
            yield Word(piece.lower(), start, end)
        start = end


def _english(text: str) -> Iterator[Word]:
    lowered = text.lower().replace("’", "'")
    if len(lowered) != len(text):  # a few letters grow when lowered; places must stay true
        lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text).replace("’", "'")
    for match in _ENGLISH.finditer(lowered):
        piece = match.group()
        if piece[0].isalnum():
            yield Word(fold(piece), match.start(), match.end())
        elif piece[0] == "-":
            continue  # joins the parts of a compound
        else:
            yield Word("", match.start(), match.end(), _pause(piece))


def _pause(piece: str) -> Pause:
    if not _QUESTION.isdisjoint(piece):
        return "question"
    if piece[0] in _SENTENCE:
        return "sentence"
    if piece[0] in _CLAUSE or not piece.strip():
        return "clause"
    return "sentence" if piece[0] == "." else ""


@cache
def _jieba() -> object:
    """The cutter with the lexicon's terms added; made on first use, since its dictionary takes 35 MB."""
    import rjieba

    with _jieba_lock:
        for term in sorted(lexicon("zh").terms):
            if len(term) > 1 and not rjieba.has_word(term):
                rjieba.add_word(term, rjieba.suggest_freq(term), "n")
    return rjieba


def _cut(text: str) -> list[str]:
    return _jieba().cut(text)  # type: ignore[attr-defined, no-any-return]
