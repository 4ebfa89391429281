"""A ticket's life, checked as a state machine."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.feedback.tickets.rules import (
    DONE,
    STEPS,
    Progress,
    ReopenPeriodOver,
    Sender,
    Status,
    TransitionRefused,
    Visibility,
    after_message,
    known_kind,
    transition,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
STATUSES = get_args(Status)
NEVER = timedelta(0)


class Life(RuleBasedStateMachine):
    """Any steps and messages, at any times, with any grace period."""

    @initialize(days=st.integers(0, 30))
    def begin(self, days: int) -> None:
        self.now = START
        self.grace = timedelta(days=days)
        self.progress = Progress()
        self.past = [self.progress]

    @rule(hours=st.integers(0, 24 * 20))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(to=st.sampled_from(STATUSES))
    def step(self, to: Status) -> None:
        before = self.progress
        late = before.resolved_at is not None and self.now - before.resolved_at > self.grace
        try:
            self.progress = transition(before, to, now=self.now, reopen_within=self.grace)
        except TransitionRefused:
            assert to not in STEPS[before.status]
        except ReopenPeriodOver:
            assert late
            assert (before.status in DONE, to) == (True, "open")
        else:
            assert to in STEPS[before.status]
            assert self.progress.status == to
            assert not (late and before.status in DONE and to == "open")
        self.past.append(self.progress)

    @rule(sender=st.sampled_from(get_args(Sender)), visibility=st.sampled_from(get_args(Visibility)))
    def message(self, sender: Sender, visibility: Visibility) -> None:
        before = self.progress
        self.progress = after_message(before, sender, visibility, now=self.now, reopen_within=self.grace)
        if visibility == "internal" or before.status == "closed":
            assert self.progress.status == before.status
        self.past.append(self.progress)

    @invariant()
    def the_times_tell_the_status(self) -> None:
        progress = self.progress
        assert (progress.resolved_at is not None) == (progress.status in DONE)
        assert (progress.closed_at is not None) == (progress.status == "closed")
        if progress.closed_at is not None and progress.resolved_at is not None:
            assert progress.closed_at >= progress.resolved_at

    @invariant()
    def only_steps_that_exist_were_taken(self) -> None:
        for before, after in pairwise(self.past[-2:]):
            assert before.status == after.status or after.status in STEPS[before.status]

    @invariant()
    def the_first_response_never_changes(self) -> None:
        for before, after in pairwise(self.past[-2:]):
            assert before.first_response_at in (None, after.first_response_at)


TestLife: Any = Life.TestCase


@given(st.sampled_from(STATUSES))
def test_from_every_status_there_is_a_way_to_closed(status: Status) -> None:
    progress = Progress(status, resolved_at=START if status in DONE else None)
    if status not in DONE:
        progress = transition(progress, "resolved", now=START, reopen_within=NEVER)
    if progress.status != "closed":
        progress = transition(progress, "closed", now=START, reopen_within=NEVER)
    assert progress.status == "closed"


def test_the_last_moment_of_the_grace_period_belongs_to_it() -> None:
    resolved = Progress("resolved", resolved_at=START)
    week = timedelta(days=7)
    assert transition(resolved, "open", now=START + week, reopen_within=week) == Progress("open")
    with pytest.raises(ReopenPeriodOver) as refused:
        transition(resolved, "open", now=START + week + timedelta(microseconds=1), reopen_within=week)
    assert refused.value.extensions == {"resolved_at": START, "reopen_days": 7.0}


def test_a_refused_step_says_which_there_are() -> None:
    with pytest.raises(TransitionRefused) as refused:
        transition(Progress("open"), "closed", now=START, reopen_within=NEVER)
    assert refused.value.extensions["allowed"] == ["pending_customer", "pending_third_party", "resolved"]


def test_an_agents_first_word_opens_a_new_ticket() -> None:
    after = after_message(Progress(), "agent", "public", now=START, reopen_within=NEVER)
    assert after == Progress("open", first_response_at=START)


def test_an_internal_note_is_no_response() -> None:
    assert after_message(Progress(), "agent", "internal", now=START, reopen_within=NEVER) == Progress()


def test_a_customers_word_ends_the_waiting_for_them() -> None:
    waiting = Progress("pending_customer")
    assert after_message(waiting, "customer", "public", now=START, reopen_within=NEVER).status == "open"


@pytest.mark.parametrize(("days", "status"), [(1, "open"), (8, "resolved")])
def test_a_late_thank_you_reopens_nothing(days: int, status: Status) -> None:
    resolved = Progress("resolved", resolved_at=START)
    now, week = START + timedelta(days=days), timedelta(days=7)
    assert after_message(resolved, "customer", "public", now=now, reopen_within=week).status == status


@given(st.text())
def test_every_word_of_a_partner_is_some_kind(given: str) -> None:
    assert known_kind(given) in {
        "complaint",
        "question",
        "praise",
        "suggestion",
        "review",
        "idea",
        "care_task",
        "other",
    }
