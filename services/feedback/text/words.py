"""Words: which language a text is in, and where its words and pauses are.

English is cut by a pattern, its endings folded so that one lexicon entry finds a word's forms; Chinese is
cut in `chinese.py`.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Language = Literal["zh", "en"]
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


def english_words(text: str) -> Iterator[Word]:
    """An English text's words and pauses in order."""
    lowered = text.lower().replace("’", "'")
    if len(lowered) != len(text):  # a few letters grow when lowered; places must stay true
        lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text).replace("’", "'")
    for match in _ENGLISH.finditer(lowered):
        piece = match.group()
        if piece[0].isalnum():
            yield Word(fold(piece), match.start(), match.end())
        elif piece[0] != "-":  # a hyphen joins the parts of a compound
            yield Word("", match.start(), match.end(), pause_of(piece))


def key_of(term: str, language: Language) -> str:
    """The form in which a lexicon term of one or more words is looked up."""
    if language == "zh":
        return term
    return " ".join(word.key for word in english_words(term) if word.key)


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


def pause_of(piece: str) -> Pause:
    """What a piece of punctuation ends; nothing if it is a word."""
    if not _QUESTION.isdisjoint(piece):
        return "question"
    if piece[0] in _SENTENCE:
        return "sentence"
    if piece[0] in _CLAUSE or not piece.strip():
        return "clause"
    return "sentence" if piece[0] == "." else ""
