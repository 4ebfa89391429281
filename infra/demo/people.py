"""Made people and what they did. Pure: the same seed and end give the same people.

Purchases follow the story that the scoring models tell (Fader, Hardie and Lee 2005): everybody buys at a rate
of their own, drawn from a gamma distribution, and after each purchase may stop for good with a probability of
their own, drawn from a beta distribution. Amounts scatter around a personal mean.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

MONTHS_DAYS = 300
RATE_SHAPE, RATE_SCALE = 1.4, 0.045  # purchases a day: on average one in 16 days
STOP_A, STOP_B = 1.0, 7.0
MOST_PURCHASES = 60
STILL_ACTIVE_DAYS = 21
ENOUGH_PURCHASES = 12
BUSY_HOURS = (9, 10, 11, 12, 14, 15, 16, 19, 20, 20, 21, 21, 22)

SURNAMES = (
    *(("王", "wang"), ("李", "li"), ("张", "zhang"), ("刘", "liu"), ("陈", "chen"), ("杨", "yang")),
    *(("赵", "zhao"), ("黄", "huang"), ("周", "zhou"), ("吴", "wu"), ("徐", "xu"), ("孙", "sun")),
)
GIVEN = (
    *(("伟", "wei"), ("芳", "fang"), ("娜", "na"), ("敏", "min"), ("静", "jing"), ("磊", "lei")),
    *(("秀英", "xiuying"), ("丽华", "lihua"), ("志强", "zhiqiang"), ("晓明", "xiaoming")),
    *(("雨桐", "yutong"), ("子涵", "zihan"), ("欣怡", "xinyi"), ("浩然", "haoran"), ("建国", "jianguo")),
)
ENGLISH_GIVEN = (
    *("Olivia", "Noah", "Amelia", "Liam", "Sophie", "Ethan", "Grace", "Oscar", "Freya", "Theo"),
    *("Isla", "Jack", "Ruby", "Leo", "Maya", "Hugo", "Nora", "Felix"),
)
ENGLISH_SURNAMES = (
    *("Walker", "Hughes", "Bennett", "Carter", "Foster", "Murray", "Reid", "Dawson", "Whitfield"),
    *("Okafor", "Patel", "Rossi", "Novak", "Larsen", "Moreau", "Schmidt"),
)
CITIES = {
    "zh": ("上海", "北京", "广州", "成都", "杭州"),
    "en": ("London", "Leeds", "Bristol", "Dublin", "York"),
}
CATEGORIES = {  # sku prefix, median price in minor units
    "kitchen": ("K", 8900),
    "books": ("B", 3600),
    "garden": ("G", 5200),
    "toys": ("T", 4400),
    "audio": ("A", 19900),
}
CHANNELS = ("web", "app", "store")

# (kind, rating, text): what people write. Most are content, as most people are.
SAID = {
    "zh": (
        ("complaint", 1, "快递把包裹弄丢了,客服一直不回复,非常失望"),
        ("complaint", 2, "收到的锅有划痕,申请退款三天了还没有处理"),
        ("complaint", 1, "多扣了一次钱,请尽快退款"),
        ("question", 3, "请问会员积分什么时候到账?"),
        ("suggestion", 4, "希望可以增加预约送货的时间段"),
        ("praise", 5, "物流很快,包装也很好,客服态度特别好,还会再来"),
        ("praise", 5, "质量非常好,比想象的还要好,推荐给朋友了"),
    ),
    "en": (
        ("complaint", 1, "My parcel never arrived and nobody answers my e-mails. Very disappointed."),
        ("complaint", 2, "The kettle stopped working after two days, I would like a refund."),
        ("complaint", 1, "I was charged twice for the same order, please fix this."),
        ("question", 3, "When will my loyalty points show up?"),
        ("suggestion", 4, "It would be great to choose an evening delivery slot."),
        ("praise", 5, "Fast delivery, lovely packaging and very helpful support. Thank you!"),
        ("praise", 5, "Great quality, even better than I expected. Recommended to my friends."),
    ),
}


@dataclass(frozen=True, slots=True)
class Buy:
    """A purchase; amounts in minor units."""

    source_id: str
    occurred_at: datetime
    amount: int
    category: str
    sku: str
    quantity: int
    channel: str


@dataclass(frozen=True, slots=True)
class Said:
    """Feedback that a partner sends for somebody."""

    source_id: str
    occurred_at: datetime
    kind: str
    rating: int
    text: str
    channel: str


@dataclass(frozen=True, slots=True)
class Person:
    """A made customer. `number` names them in the shop."""

    number: str
    name: str
    email: str
    phone: str
    language: str
    city: str
    currency: str
    purchases: tuple[Buy, ...]
    feedback: tuple[Said, ...]
    nps: int | None
    csat: int | None


def make_people(count: int, seed: int, until: datetime) -> list[Person]:
    """Make `count` people whose story ends at `until`."""
    return [_person(random.Random(f"{seed}/{index}"), index, seed, until) for index in range(count)]


def most_interesting(people: Sequence[Person]) -> Person:
    """Whom to show: had something to say, buys still, and bought more than once."""
    newest = max(person.purchases[-1].occurred_at for person in people)

    def interest(person: Person) -> tuple[int, int, bool]:
        says = bool(person.feedback) + (person.nps is not None)
        active = newest - person.purchases[-1].occurred_at < timedelta(days=STILL_ACTIVE_DAYS)
        return says, min(len(person.purchases), ENOUGH_PURCHASES) if active else 0, person.language == "zh"

    return max(people, key=interest)


def _person(rng: random.Random, index: int, seed: int, until: datetime) -> Person:
    language = "zh" if rng.random() < 0.6 else "en"
    number = f"{seed}-{index + 1:04d}"
    name, handle = _name(rng, language)
    purchases = _purchases(rng, number, until)
    last = purchases[-1].occurred_at
    feedback = []
    if rng.random() < 0.35:
        kind, rating, text = rng.choice(SAID[language])
        at = min(last + timedelta(days=rng.uniform(0.5, 6)), until)
        channel = rng.choice(("review", "chat", "email"))
        feedback.append(Said(f"F-{number}", at, kind, rating, text, channel))
    unhappy = any(said.rating <= 2 for said in feedback)
    nps = (
        rng.choice((0, 2, 3, 4, 6) if unhappy else (6, 7, 8, 8, 9, 9, 10, 10)) if rng.random() < 0.4 else None
    )
    csat = rng.choice((1, 2, 3) if unhappy else (3, 4, 4, 5, 5)) if rng.random() < 0.2 else None
    digits = f"{seed % 100:02d}{index:04d}"
    return Person(
        number=number,
        name=name,
        email=f"{handle}.{number}@example.com",
        phone=f"+861380{digits}1"[:14] if language == "zh" else f"+447400{digits}",
        language=language,
        city=rng.choice(CITIES[language]),
        currency="CNY" if language == "zh" else "GBP",
        purchases=purchases,
        feedback=tuple(feedback),
        nps=nps if rng.random() < 0.4 else None,
        csat=csat if rng.random() < 0.2 else None,
    )


def _name(rng: random.Random, language: str) -> tuple[str, str]:
    if language == "zh":
        (family, family_latin), (given, given_latin) = rng.choice(SURNAMES), rng.choice(GIVEN)
        return family + given, f"{given_latin}.{family_latin}"
    given, family = rng.choice(ENGLISH_GIVEN), rng.choice(ENGLISH_SURNAMES)
    return f"{given} {family}", f"{given}.{family}".lower()


def _purchases(rng: random.Random, number: str, until: datetime) -> tuple[Buy, ...]:
    rate = rng.gammavariate(RATE_SHAPE, RATE_SCALE)
    stops = rng.betavariate(STOP_A, STOP_B)
    taste = rng.sample(sorted(CATEGORIES), k=2)
    spend = rng.lognormvariate(0, 0.5)
    channel = rng.choice(CHANNELS)
    made: list[Buy] = []
    day = until - timedelta(days=rng.uniform(5, MONTHS_DAYS))
    while day < until and len(made) < MOST_PURCHASES:
        at = day.replace(hour=rng.choice(BUSY_HOURS), minute=rng.randrange(60), second=rng.randrange(60))
        category = taste[0] if rng.random() < 0.7 else taste[1]
        letter, price = CATEGORIES[category]
        quantity = rng.choice((1, 1, 1, 2, 3))
        amount = max(100, round(price * spend * rng.lognormvariate(0, 0.3) / 10) * 10) * quantity
        sku = f"{letter}{rng.randrange(1, 40):02d}"
        used = channel if rng.random() < 0.8 else rng.choice(CHANNELS)
        made.append(Buy(f"O-{number}-{len(made) + 1}", min(at, until), amount, category, sku, quantity, used))
        if rng.random() < stops:
            break
        day += timedelta(days=max(0.5, rng.expovariate(rate)))
    return tuple(made)
