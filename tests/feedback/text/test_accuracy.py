"""The lexicons against labelled texts from outside; skipped where the texts are not at hand.

Mood: Chinese hotel reviews labelled good or bad by their authors' stars. Words were added after looking at
mistakes in the even rows only, so the odd rows are the honest measure. Category: English banking questions
whose intent belongs to exactly one of our categories.
"""

import csv
from collections import Counter

import pytest

from services.feedback.text.reading import read
from tests.support.databases import SHARED_DATA

REVIEWS = SHARED_DATA / "hotel_reviews_zh.csv"
QUESTIONS = SHARED_DATA / "banking77_train.csv"

# Intents whose category nobody would dispute.
INTENTS = {
    "card_arrival": "logistics",
    "card_delivery_estimate": "logistics",
    "exchange_rate": "price",
    "exchange_charge": "price",
    "exchange_via_app": "price",
    "card_payment_fee_charged": "price",
    "cash_withdrawal_charge": "price",
    "top_up_by_card_charge": "price",
    "transfer_fee_charged": "price",
    "extra_charge_on_statement": "price",
    "transaction_charged_twice": "price",
    "request_refund": "price",
    "Refund_not_showing_up": "price",
    "passcode_forgotten": "account",
    "unable_to_verify_identity": "account",
    "verify_my_identity": "account",
    "why_verify_identity": "account",
    "edit_personal_details": "account",
    "terminate_account": "account",
    "pin_blocked": "account",
    "change_pin": "account",
}


@pytest.mark.skipif(not REVIEWS.exists(), reason="the labelled reviews are not at hand")
def test_mood_has_the_sign_of_the_reviews_label() -> None:
    with REVIEWS.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[1::2]
    outcome = Counter((row["label"], _sign(read(row["review"]).mood)) for row in rows)
    right = outcome["1", 1] + outcome["0", -1]
    decided = right + outcome["1", -1] + outcome["0", 1]
    good = outcome["1", 1] / (outcome["1", 1] + outcome["1", -1])
    bad = outcome["0", -1] / (outcome["0", -1] + outcome["0", 1])
    figures = (
        f"accuracy {right / decided:.3f}, coverage {decided / len(rows):.3f}, good {good:.3f}, bad {bad:.3f}"
    )
    assert right / decided >= 0.82, figures
    assert decided / len(rows) >= 0.95, figures
    assert min(good, bad) >= 0.78, figures


@pytest.mark.skipif(not QUESTIONS.exists(), reason="the labelled questions are not at hand")
def test_category_fits_the_questions_intent() -> None:
    with QUESTIONS.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] in INTENTS]
    right = sum(read(row["text"]).category == INTENTS[row["category"]] for row in rows)
    assert len(rows) > 2000
    assert right / len(rows) >= 0.85, f"{right} of {len(rows)}"


def _sign(mood: float) -> int:
    return (mood > 0) - (mood < 0)
