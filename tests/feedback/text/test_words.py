"""Languages, words and pauses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.feedback.text.reading import words
from services.feedback.text.words import detect_language, fold, key_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("快递把包裹弄丢了", "zh"),
        ("My parcel is lost", "en"),
        ("iPhone 15 Pro Max 很好用", "zh"),
        ("我的 order 还没 arrive", "zh"),
        ("please send order 退 back to the London warehouse today", "en"),
        ("1234 !!! 😡", None),
        ("", None),
        ("こんにちは", None),
    ],
)
def test_recognises_chinese_and_english(text: str, language: str | None) -> None:
    assert detect_language(text) == language


def test_one_form_stands_for_all_of_a_word() -> None:
    assert {fold(word) for word in ("charge", "charges", "charged", "charging")} == {fold("charge")}
    assert {fold(word) for word in ("delivery", "deliveries")} == {"delivery"}
    assert {fold(word) for word in ("ship", "ships", "shipped", "shipping")} == {"ship"}


def test_words_that_only_look_alike_stay_apart() -> None:
    assert fold("made") != fold("mad")
    assert fold("pleased") != fold("please")


def test_words_keep_their_place_in_the_text() -> None:
    text = "The parcel, it’s LOST!"
    found = words(text, "en")
    assert [text[word.start : word.end] for word in found] == ["The", "parcel", ",", "it’s", "LOST", "!"]
    assert [word.pause for word in found] == ["", "", "clause", "", "", "sentence"]


def test_letters_that_grow_when_lowered_do_not_move_the_places() -> None:
    text = "İİ lost"
    assert [text[word.start : word.end] for word in words(text, "en")][-1] == "lost"


def test_lexicon_terms_are_words_of_a_chinese_text() -> None:
    assert "踢皮球" in {word.key for word in words("客服互相踢皮球", "zh")}


def test_a_hyphen_joins_and_a_dash_parts() -> None:
    assert key_of("top-notch", "en") == key_of("top notch", "en")


@settings(deadline=None)  # the first text loads the dictionary
@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("快递很慢，。不 \n"), max_size=60))
def test_the_places_of_chinese_words_are_true(text: str) -> None:
    assert all(word.pause or text[word.start : word.end].lower() == word.key for word in words(text, "zh"))
