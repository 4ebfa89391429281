"""Chinese words, cut by rjieba, which knows the lexicon's terms as words too."""

import threading
from collections.abc import Iterator
from functools import cache

from services.feedback.text.lexicon import lexicon
from services.feedback.text.words import Word, pause_of

_loading = threading.Lock()


def chinese_words(text: str) -> Iterator[Word]:
    """A Chinese text's words and pauses in order."""
    start = 0
    for piece in _cut(text):
        end = start + len(piece)
        pause = pause_of(piece)
        yield Word("" if pause else piece.lower(), start, end, pause)
        start = end


def _cut(text: str) -> list[str]:
    pieces: list[str] = _jieba().cut(text)  # type: ignore[attr-defined]
    return pieces


@cache
def _jieba() -> object:
    """The cutter with the lexicon's terms added; made on first use, since its dictionary takes 35 MB."""
    import rjieba

    with _loading:
        for term in sorted(lexicon("zh").terms):
            if len(term) > 1 and not rjieba.has_word(term):
                rjieba.add_word(term, rjieba.suggest_freq(term), "n")
    return rjieba
