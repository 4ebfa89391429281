"""The made people are the same for the same seed, and such as a shop has."""

from datetime import UTC, datetime

import phonenumbers
from email_validator import validate_email
from rich.console import Console

from infra.demo.people import make_people, most_interesting
from infra.demo.run import Outcome
from infra.demo.show import show_customer

UNTIL = datetime(2026, 7, 1, tzinfo=UTC)


def test_the_same_seed_makes_the_same_people_and_another_makes_others() -> None:
    assert make_people(50, 7, UNTIL) == make_people(50, 7, UNTIL)
    assert make_people(50, 7, UNTIL) != make_people(50, 8, UNTIL)
    assert make_people(80, 7, UNTIL)[:50] == make_people(50, 7, UNTIL)


def test_everybody_is_somebody_of_their_own_with_valid_handles() -> None:
    people = make_people(5000, 360, UNTIL)
    for handles in ({p.number for p in people}, {p.email for p in people}, {p.phone for p in people}):
        assert len(handles) == 5000
    for person in people[:200]:
        validate_email(person.email, check_deliverability=False)
        assert phonenumbers.is_valid_number(phonenumbers.parse(person.phone)), person.phone


def test_purchases_have_a_rhythm_and_lie_in_the_past() -> None:
    people = make_people(400, 360, UNTIL)
    counts = sorted(len(person.purchases) for person in people)
    assert counts[0] == 1
    assert counts[-1] > 15
    buys = [buy for person in people for buy in person.purchases]
    assert all(buy.amount > 0 and buy.occurred_at <= UNTIL for buy in buys)
    assert len({buy.source_id for buy in buys}) == len(buys)
    assert {person.language for person in people} == {"zh", "en"}
    assert most_interesting(people).feedback


def test_a_view_is_shown_whatever_its_sections_hold() -> None:
    console = Console(record=True, width=120, force_terminal=False)
    view = {
        "customer_id": "0198",
        "profile": {
            "name": "李雷",
            "attributes": {"city": {"value": "上海", "source": "api"}},
            "purchases": {"totals": [{"count": 2, "amount": 1234500, "currency": "CNY"}]},
        },
        "loyalty": {"balance": 1290, "next_expiry": None},
        "feedback": {
            "mood": {"average": -0.81, "days": 90},
            "last_tickets": [{"category": "delivery", "occurred_at": "2026-03-01T10:00:00Z"}],
        },
        "scoring": None,
        "meta": {"sections": {"loyalty": {"status": "ok", "source": "view"}}},
    }
    show_customer(console, Outcome(counts={"customers": 3}, view=view, notes=["a note"]))
    shown = console.export_text()
    said = (
        "李雷",
        "上海",
        "1,290",
        "delivery",
        "unhappy (-0.81)",
        "CNY 12,345.00",
        "nothing known",
        "ok · view",
    )
    assert [words for words in said if words not in shown] == []
