"""The lexicon files themselves."""

import pytest

from services.feedback.text.lexicon import CATEGORIES, LexiconError, lexicon, parse
from services.feedback.text.words import Language

EMPTY = {"language": "en", "version": "1", "mood": [], "degree": [], "category": [], "severity": []}
MODIFIERS = {"negators": "", "contrast": "", "conclusion": "", "wishes": "", "questions": ""}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_each_language_has_several_hundred_terms(language: Language) -> None:
    words = lexicon(language)
    assert len(words.mood) > 700
    assert len(words.category) > 400
    assert len(words.severity) > 120
    assert set().union(*words.category.values()) == set(CATEGORIES) - {"other"}


def test_both_languages_have_one_version() -> None:
    assert lexicon("zh").version == lexicon("en").version


@pytest.mark.parametrize(
    "change",
    [
        {"mood": [{"value": 1, "terms": "fine"}, {"value": -1, "terms": "fine"}]},
        {"mood": [{"value": 1, "terms": "very"}], "degree": [{"factor": 1.5, "terms": "very"}]},
        {"category": [{"name": "weather", "weight": 1, "terms": "rain"}]},
        {"severity": [{"level": 1, "terms": "late"}, {"level": 2, "terms": "late"}]},
    ],
)
def test_a_file_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(LexiconError):
        parse(EMPTY | {"modifiers": MODIFIERS} | change, str)
