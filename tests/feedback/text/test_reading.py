"""What is read out of support texts, in both languages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.feedback.text.reading import READ_CHARACTERS, read

BAD, NEUTRAL, GOOD = -1, 0, 1
NOTHING_SAID = 0.1

SAMPLES = [
    ("My parcel never arrived and nobody answers my emails.", BAD, "logistics"),
    ("Absolutely love these headphones, the sound quality is superb!", GOOD, "product"),
    ("The agent was rude and hung up on me.", BAD, "service"),
    ("I was charged twice and they refuse to refund me.", BAD, "price"),
    ("I can't log in, the password reset email never comes.", BAD, "account"),
    ("Not bad at all, delivery was quick.", GOOD, "logistics"),
    ("The staff were not very helpful.", BAD, "service"),
    ("Great product but delivery took three weeks, very disappointed.", BAD, "logistics"),
    ("How do I change my address?", NEUTRAL, "account"),
    ("It would be nice if you had more colours.", NEUTRAL, "product"),
    ("Thank you so much, the issue was resolved quickly.", GOOD, "service"),
    ("The screen cracked after two days. Cheap plastic, waste of money.", BAD, "product"),
    ("Overpriced for what you get.", BAD, "price"),
    ("Best customer service I have ever had!", GOOD, "service"),
    ("The charger caught fire and burned my hand", BAD, "product"),
    ("I don't think it is worth the price.", BAD, "price"),
    ("No complaints, works as described.", GOOD, "product"),
    ("快递把包裹弄丢了,客服一直不回复", BAD, "logistics"),
    ("手机用了三天就黑屏,质量太差了", BAD, "product"),
    ("客服小姐姐很耐心,问题一下就解决了,点赞", GOOD, "service"),
    ("重复扣款了,一直不退款", BAD, "price"),
    ("收不到验证码,登录不了账号", BAD, "account"),
    ("发货很快,包装也完好", GOOD, "logistics"),
    ("怎么修改收货地址?", NEUTRAL, "logistics"),
    ("退款什么时候到账?", NEUTRAL, "price"),
    ("充电器冒烟了,差点着火", BAD, "product"),
    ("不是很满意,跟描述不符", BAD, "product"),
    ("还不错,会回购", GOOD, "other"),
    ("希望能多一些颜色", NEUTRAL, "product"),
    ("等了半个月还没收到货,催了几次都没人理", BAD, "logistics"),
    ("没有想象中那么差", GOOD, "other"),
    ("态度好得很,下次还来", GOOD, "service"),
    ("包裹收到了,没有破损,谢谢", GOOD, "logistics"),
    ("优惠券用不了", BAD, "price"),
]


@pytest.mark.parametrize(("text", "sign", "category"), SAMPLES)
def test_reads_mood_and_category(text: str, sign: int, category: str) -> None:
    reading = read(text)
    assert (reading.mood > NOTHING_SAID) - (reading.mood < -NOTHING_SAID) == sign
    assert reading.category == category


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        ("非常满意", "满意"),
        ("满意", "有点满意"),
        ("差极了", "差"),
        ("very helpful", "helpful"),
        ("helpful", "slightly helpful"),
        ("awful", "not good"),
    ],
)
def test_degree_words_strengthen_and_weaken(stronger: str, weaker: str) -> None:
    assert abs(read(stronger).mood) > abs(read(weaker).mood) > 0


@pytest.mark.parametrize(
    ("text", "mood"),
    [("不满意", -1), ("不是不满意", 1), ("没有问题", 0), ("最好发顺丰", 0), ("not good", -1), ("not bad", 1)],
)
def test_negation_and_idioms(text: str, mood: int) -> None:
    value = read(text).mood
    assert (value > 0) - (value < 0) == mood


@pytest.mark.parametrize("text", ["is it free?", "有优惠吗", "能不能便宜", "Do you have a discount?"])
def test_praise_in_a_question_says_nothing(text: str) -> None:
    assert read(text).mood == 0.0


def test_blame_in_a_question_is_blame() -> None:
    assert read("为什么这么慢?").mood < 0 > read("Why is it so slow?").mood


def test_what_follows_a_but_counts_more() -> None:
    assert (
        read("good quality, but slow delivery, rude staff").mood
        < read("slow delivery, rude staff, good quality").mood
    )


@pytest.mark.parametrize(
    ("text", "kind", "rating", "severity"),
    [
        ("The charger caught fire", "complaint", None, "critical"),
        ("我的卡被盗刷了", "complaint", 1, "critical"),
        ("快递把包裹弄丢了,客服一直不回复", "complaint", 1, "high"),
        ("发错货了", "complaint", 1, "high"),
        ("发错货了", "question", 4, "normal"),
        ("hello", "complaint", None, "normal"),
        ("hello", "question", None, "low"),
        ("No one was injured, thank you", "review", None, "low"),
        ("谢谢你们帮我处理盗刷", "praise", 5, "normal"),
    ],
)
def test_severity(text: str, kind: str, rating: float | None, severity: str) -> None:
    assert read(text, kind=kind, rating=rating).severity == severity


def test_the_rating_speaks_when_no_word_does() -> None:
    assert (read("...", rating=1).mood, read("...", rating=1).mood_source) == (-1.0, "rating")
    assert (read("", rating=4).mood, read("", rating=99).mood) == (0.5, 1.0)
    assert (read("").mood, read("").mood_source) == (0.0, "none")
    assert read("很好", rating=1).mood_source == "text"


def test_a_reading_is_explained_by_the_terms_it_found() -> None:
    text = "快递把包裹弄丢了,客服一直不回复"
    reading = read(text, kind="complaint", rating=1)
    assert reading.version == "zh-2026.1"
    assert {"term": "弄丢了", "start": 5, "says": "mood", "value": -2.0} in reading.terms
    assert all(text[t["start"] :].startswith(t["term"]) for t in reading.terms)
    assert {"logistics", "service", "mood", "high"} == {t["says"] for t in reading.terms}


def test_only_the_beginning_of_a_very_long_text_is_read() -> None:
    assert read("hello " * READ_CHARACTERS + "terrible").mood == 0.0


@settings(deadline=None)  # the first text loads the dictionary
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200), st.none() | st.floats(allow_nan=False))
def test_any_text_can_be_read_and_twice_gives_the_same(text: str, rating: float | None) -> None:
    reading = read(text, rating=rating)
    assert -1 <= reading.mood <= 1
    assert 0 <= reading.category_confidence <= 1
    assert reading == read(text, rating=rating)
