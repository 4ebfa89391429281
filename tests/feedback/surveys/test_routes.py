"""The survey API through the real app."""

from typing import Any
from uuid import uuid4

from shared.contracts.feedback import SurveyAnswered
from tests.feedback.conftest import Feedback
from tests.support.apps import client_of


async def answer(feedback: Feedback, survey: str, score: Any, **more: Any) -> Any:
    body = {"customer_id": str(uuid4()), "score": score} | more
    return await feedback.client.post(f"/v1/surveys/{survey}/responses", json=body)


async def test_the_three_surveys_exist_from_the_start(feedback: Feedback) -> None:
    listed = (await feedback.client.get("/v1/surveys")).json()
    assert [(s["id"], s["lowest"], s["highest"]) for s in listed["items"]] == [
        ("ces", 1, 7),
        ("csat", 1, 5),
        ("nps", 0, 10),
    ]
    assert listed["next_cursor"] is None
    first = (await feedback.client.get("/v1/surveys?limit=2")).json()
    rest = (await feedback.client.get(f"/v1/surveys?cursor={first['next_cursor']}")).json()
    assert [s["id"] for s in rest["items"]] == ["nps"]


async def test_an_answer_is_kept_announced_and_shown(feedback: Feedback) -> None:
    customer = uuid4()
    body = {
        "customer_id": str(customer),
        "score": 9,
        "comment": "物流很快,非常满意",
        "touchpoint": "delivery",
    }
    given = await feedback.client.post("/v1/surveys/nps/responses", json=body)
    assert given.status_code == 201, given.text
    assert given.json()["mood"] > 0.5
    (told,) = await feedback.said(SurveyAnswered)
    assert (told.customer_id, told.survey, told.kind, told.score) == (customer, "nps", "nps", 9)
    assert str(told.answer_id) == given.json()["id"]
    section = await feedback.section(customer)
    assert (section["surveys"]["nps"]["score"], section["surveys"]["nps"]["touchpoint"]) == (9, "delivery")


async def test_a_key_makes_an_answer_happen_once(feedback: Feedback) -> None:
    body = {"customer_id": str(uuid4()), "score": 4}
    headers = {"Idempotency-Key": "answer-1"}
    first = await feedback.client.post("/v1/surveys/csat/responses", json=body, headers=headers)
    again = await feedback.client.post("/v1/surveys/csat/responses", json=body, headers=headers)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    await feedback.said(SurveyAnswered)


async def test_results_are_of_a_span_and_a_touchpoint(feedback: Feedback) -> None:
    for day, score, touchpoint in [(1, 10, "delivery"), (2, 9, "store"), (2, 0, "delivery"), (3, 7, None)]:
        more = {"touchpoint": touchpoint} if touchpoint else {}
        await answer(feedback, "nps", score, occurred_at=f"2026-03-0{day}T12:00:00Z", **more)

    async def results(query: str) -> Any:
        reply = await feedback.client.get(f"/v1/surveys/nps/results?{query}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    everything = await results("")
    assert (everything["answers"], everything["score"]) == (4, 25.0)
    assert everything["distribution"] == {"0": 1, "7": 1, "9": 1, "10": 1}
    assert everything["groups"] == {"promoters": 2, "passives": 1, "detractors": 1}
    assert everything["interval"]["low"] < 25 < everything["interval"]["high"]
    assert (await results("touchpoint=delivery"))["score"] == 0.0
    assert (await results("from=2026-03-02&to=2026-03-03"))["answers"] == 2
    late = await results("from=2026-03-02T12:00:01Z")
    assert (late["answers"], late["from"], late["to"]) == (1, "2026-03-02T12:00:01Z", None)
    assert (await results("touchpoint=moon"))["score"] is None


async def test_insights_are_the_same_figures(feedback: Feedback) -> None:
    for score in (10, 10, 3):
        await answer(feedback, "nps", score)
    await answer(feedback, "csat", 5)
    nps = (await feedback.client.get("/v1/insights/nps")).json()
    same = (await feedback.client.get("/v1/surveys/nps/results")).json()
    assert nps | {"survey": "nps"} == same
    assert nps["score"] == 33.3
    assert (await feedback.client.get("/v1/insights/csat?from=2020-01-01")).json()["score"] == 100.0


MISFITS: list[tuple[str, dict[str, Any], str]] = [
    ("nps", {"score": 11}, "/score"),
    ("nps", {"score": -1}, "/score"),
    ("csat", {"score": 0}, "/score"),
    ("csat", {"score": 6}, "/score"),
    ("ces", {"score": 8}, "/score"),
    ("nps", {"score": True}, "/score"),
    ("nps", {"score": 9.5}, "/score"),
    ("nps", {"score": 9, "customer_id": None}, "/customer_id"),
    ("nps", {"score": 9, "touchpoint": ""}, "/touchpoint"),
    ("nps", {"score": 9, "occurred_at": "yesterday"}, "/occurred_at"),
    ("nps", {"score": 9, "mood": 1}, "/mood"),
]


async def test_a_field_that_does_not_fit_is_named(feedback: Feedback) -> None:
    for survey, body, pointer in MISFITS:
        reply = await answer(feedback, survey, **body)
        assert reply.status_code == 422, body
        assert pointer in {error["pointer"] for error in reply.json()["errors"]}, body


async def test_odd_questions_get_problems(feedback: Feedback) -> None:
    client = feedback.client
    assert (await answer(feedback, "mood", 5)).status_code == 404
    assert (await client.get("/v1/surveys/mood/results")).status_code == 404
    for query in (
        "from=2026-03-02&to=2026-03-01",
        "from=soon",
        "to=9999-12-31",
        "from=0001-01-01",
        "touchpoint=%00",
    ):
        reply = await client.get(f"/v1/surveys/nps/results?{query}")
        assert reply.status_code == 422, query
    assert (await client.get("/v1/surveys/%00/results")).status_code == 422
    assert (await client.get("/v1/surveys?cursor=bm9uc2Vuc2U")).status_code == 400


async def test_scopes_decide(feedback: Feedback) -> None:
    async with client_of(feedback.app, ["surveys:read"]) as reader:
        assert (await reader.get("/v1/insights/nps")).status_code == 200
        body = {"customer_id": str(uuid4()), "score": 9}
        assert (await reader.post("/v1/surveys/nps/responses", json=body)).status_code == 403
    async with client_of(feedback.app, ["surveys:write"]) as writer:
        assert (await writer.get("/v1/insights/nps")).status_code == 403
