"""What is learnt from made data whose structure is known: groups, drift, popularity, likeness."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from services.scoring.cli import app
from services.scoring.recommendations.neighbours import Ints, Neighbours, Pairs, Terms, best, learn, mix
from services.scoring.recommendations.rules import traits

TERMS = Terms(half_life_days=60, neighbours=5, support=5, together=0.7, alike=0.2, popular=0.1)
GROUPS, ITEMS = 8, 80
GROUP_OF_ITEM = np.arange(ITEMS) % GROUPS


def made(customers: int, *, drift_days: float, seed: int = 7) -> tuple[Pairs, Ints]:
    """Customers who mostly buy from the group of items they like, within it and without the popular ones
    more than others. In the last `drift_days` of 300 they like the next group instead."""
    rng = np.random.default_rng(seed)
    popular = 1 / (1 + np.arange(ITEMS) // GROUPS)
    likes = rng.integers(0, GROUPS, customers)
    newest: dict[tuple[int, int], float] = {}
    for customer in range(customers):
        for age in rng.uniform(0, 300, rng.poisson(6) + 2):
            group = (likes[customer] + (age < drift_days)) % GROUPS
            weights = popular * (group == GROUP_OF_ITEM) if rng.random() < 0.8 else popular
            item = int(rng.choice(ITEMS, p=weights / weights.sum()))
            newest[customer, item] = min(age, newest.get((customer, item), np.inf))
    keys = sorted(newest)
    return Pairs(
        np.array([c for c, _ in keys]), np.array([i for _, i in keys]), np.array([newest[k] for k in keys])
    ), likes


def nearest(learnt: Neighbours) -> dict[int, int]:
    """Of each item the one that is most bought together with it."""
    order = np.lexsort((learnt.together, learnt.item))
    return dict(zip(learnt.item[order].tolist(), learnt.neighbour[order].tolist(), strict=True))


def test_groups_that_are_bought_together_are_found_whatever_is_popular_or_how_rows_come() -> None:
    pairs, likes = made(1500, drift_days=90)
    nobody = np.zeros(likes.size, dtype=np.int64)
    learnt = learn(pairs, [[] for _ in range(ITEMS)], nobody, 1, TERMS)
    found = nearest(learnt)
    assert np.mean([GROUP_OF_ITEM[a] == GROUP_OF_ITEM[b] for a, b in found.items()]) > 0.9
    assert np.bincount(learnt.item, minlength=ITEMS).max() <= TERMS.neighbours
    assert (learnt.together >= 0).all()
    assert (learnt.together <= 1).all()
    assert not learnt.alike.any()

    # Who likes a group now is offered that group, not the one they liked before, nor what all buy.
    customers = np.arange(200)
    ((_, scores),) = mix(learnt, pairs, customers, nobody, TERMS)
    late = [pairs.age_days[pairs.customer == c].min() < 45 for c in customers]
    now = (likes[customers] + 1) % GROUPS
    top = GROUP_OF_ITEM[best(scores, 5)]
    assert np.mean((top == now[:, None]).mean(axis=1)[late]) > 0.55
    slow = Terms(**{**{n: getattr(TERMS, n) for n in Terms.__slots__}, "half_life_days": 36500})
    ((_, old),) = mix(learn(pairs, [[]] * ITEMS, nobody, 1, slow), pairs, customers, nobody, slow)
    top_old = GROUP_OF_ITEM[best(old, 5)]
    assert (top == now[:, None])[late].mean() > (top_old == now[:, None])[late].mean() + 0.05

    mixed = np.random.default_rng(1).permutation(pairs.item.size)
    again = learn(
        Pairs(pairs.customer[mixed], pairs.item[mixed], pairs.age_days[mixed]), [[]] * ITEMS, nobody, 1, TERMS
    )
    assert nearest(again) == found


def test_items_are_alike_by_what_they_share_and_rare_traits_say_more() -> None:
    looks = [
        traits("kitchen", {"material": "steel", "tags": ["sharp", "small"], "size": None}),
        traits("kitchen", {"material": "steel", "tags": ["sharp"]}),
        traits("kitchen", {"material": "wood"}),
        traits("garden", {"material": "wood"}),
        traits(None, {}),
    ]
    pairs = Pairs(np.repeat(np.arange(200), 5), np.tile(np.arange(5), 200), np.zeros(1000))
    learnt = learn(pairs, looks, np.zeros(200, dtype=np.int64), 1, TERMS)
    alike = dict(
        zip(zip(learnt.item.tolist(), learnt.neighbour.tolist(), strict=True), learnt.alike, strict=True)
    )
    assert alike[0, 1] > alike[0, 2] > 0
    assert alike[2, 3] > 0
    assert alike[0, 3] == alike[0, 4] == 0
    assert max(alike.values()) < 1.1


def test_popularity_is_kept_apart_by_group() -> None:
    pairs = Pairs(np.array([0, 1, 2, 3]), np.array([0, 0, 0, 1]), np.zeros(4))
    learnt = learn(pairs, [[], []], np.array([0, 0, 0, 1]), 2, TERMS)
    assert learnt.popularity.tolist() == [[1, pytest.approx(1 / 3)], [0, 1]]


def log(path: Path) -> Path:
    """A log in which what goes together is known."""
    pairs, _ = made(600, drift_days=0)
    start = date(2026, 1, 1)
    rows = [
        f"c{c},{start + timedelta(days=300 - round(age))},s{i},g{GROUP_OF_ITEM[i]}"
        for c, i, age in zip(pairs.customer, pairs.item, pairs.age_days, strict=True)
    ]
    path.write_text("\n".join(["customer_id,date,sku,category", *rows]))
    return path


def test_the_command_line_judges_against_popularity(tmp_path: Path) -> None:
    line = ["recommend", "--csv", str(log(tmp_path / "log.csv"))]
    result = CliRunner().invoke(app, [*line, "--json", "--customer", "c1"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    quality = answer["quality"]
    assert (answer["customers"], answer["items"], quality["k"]) == (600, 80, 10)
    assert quality["better"]
    assert quality["mixed"]["recall"] > 1.5 * quality["popularity"]["recall"]
    assert quality["mixed"]["coverage"] > 2 * quality["popularity"]["coverage"]
    assert answer["recommendations"][0]["score"] > 0
    assert CliRunner().invoke(app, [*line, "--json", "--customer", "c1"]).stdout == result.stdout
    assert "precision@10" in CliRunner().invoke(app, line).stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("customer_id,date\nc1,2026-01-01\n", "header needs the columns customer_id, date and sku"),
        ("customer_id,date,sku\nc1,yesterday,a\n", "Line 2: 'yesterday' is not a date"),
        ("customer_id,date,sku\nc1,2026-01-01,\n", "Line 2 names no customer or no sku"),
        ("customer_id,date,sku\n", "No purchase names an item"),
        ("customer_id,date,sku\nc1,2026-01-01,a\nc2,2026-01-01,a\n", "Too few items"),
        ("customer_id,date,sku\nc1,2026-01-01,a\nc1,2026-01-01,b\n", "Customers who bought items: 1"),
    ],
)
def test_a_log_that_says_nothing_is_one_sentence(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(content)
    result = CliRunner().invoke(app, ["recommend", "--csv", str(path)])
    assert (result.exit_code, words in result.stderr, result.stderr.count("\n")) == (1, True, 1)
