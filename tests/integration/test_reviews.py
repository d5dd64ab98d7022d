"""What an enterprise may do about a decision: have it explained, and have a person look at it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credit301 import verbs
from credit301.governance.audit.entry import Event
from credit301.governance.audit.verify import records
from tests.integration.test_applications_http import World, begin, ready, store, world
from tests.support.endpoint import GOOD_ONE, REVOKED_ONE, refused
from tests.support.strategies import STATUS

__all__ = ["store", "world"]
pytestmark = pytest.mark.server
OFFER = {"conclusion": "approve", "note": "the register was corrected", "limit": "150000.00", "annual_rate": "0.0480"}


def declined(world: World, **changes: Any) -> str:
    place = ready(world, REVOKED_ONE, **changes)
    assert world.api.post(f"{place}/submit").json()["state"] == "declined"
    return place


def review(world: World, place: str, **body: Any) -> Any:
    return world.api.post(f"/v1/reviews/{place.rpartition('/')[2]}", json=body)


def test_a_decline_is_explained_with_what_decided_and_the_data_that_were_used(world: World) -> None:
    place = declined(world)
    told = world.api.get(f"{place}/explanation").json()
    assert told["automatic"] is True
    assert [cause["code"] for cause in told["causes"]] == ["rule.not_in_operation"]
    assert "拒绝" in told["summary"]["zh"]
    assert told["causes"][0]["text"]["zh"].rstrip("。") in told["summary"]["zh"]
    assert "declined" in told["summary"]["en"]
    used = {source["source"]: source for source in told["used"]}
    source = STATUS.partition(":")[0]
    assert used[source]["owner"] == world.workspace.sources[source].owner != ""
    assert used[source]["as_of"] is not None
    assert told["review"]["possible"] is True
    until = datetime.fromisoformat(told["review"]["until"])
    assert timedelta(days=29) < until - datetime.now(UTC) <= timedelta(days=30)


def test_what_is_not_decided_cannot_be_explained(world: World) -> None:
    refused(world.api.get(f"{begin(world)}/explanation"), 409, "not_decided")


def test_a_person_reviews_a_decline_and_the_enterprise_takes_the_offer(world: World) -> None:
    before = verbs.call("applications.touches", world.workspace)
    place = declined(world)
    asked = world.api.post(f"{place}/review", json={"reason": "the register has been corrected"})
    assert asked.json()["state"] == "referred"
    assert world.api.post(f"{place}/review", json={}).json()["state"] == "referred"
    queue = world.api.get("/v1/reviews").json()["applications"]
    assert place.rpartition("/")[2] in {item["application_id"] for item in queue}
    offered = review(world, place, **OFFER).json()
    assert (offered["state"], offered["offer"]["limit"], offered["offer"]["annual_rate"]) == (
        "offered", "150000.00", "0.048000",
    )  # fmt: skip
    # The decision stays what it was.
    assert offered["decision"]["outcome"] == "decline"
    assert world.api.post(f"{place}/accept").json()["state"] == "disbursement_instructed"
    seen = world.api.get(place).json()["history"]
    (line,) = [step for step in seen if step["actor"] == "reviewer"]
    assert (line["event"], line["by"], line["detail"]["note"]) == ("offer", "demo", OFFER["note"])
    told = world.api.get(f"{place}/explanation").json()
    assert told["automatic"] is False
    assert told["review"]["possible"] is False
    trail = [record.entry for record in records(world.workspace.paths.audit) if record.entry.event is Event.REVIEWED]
    assert [(entry.who, entry.detail["conclusion"]) for entry in trail if entry.application in place] == [
        ("demo", "approve")
    ]
    after = verbs.call("applications.touches", world.workspace)
    assert after["touched"] == before["touched"] + 1
    assert after["per_thousand"] == pytest.approx(1000 * after["touched"] / after["decided"])


def test_a_declined_review_is_final(world: World) -> None:
    place = declined(world)
    world.api.post(f"{place}/review", json={})
    assert review(world, place, conclusion="decline", note="nothing has changed").json()["state"] == "declined"
    refused(world.api.post(f"{place}/review", json={}), 409, "no_review")


def test_only_an_automatic_decline_can_be_reviewed(world: World) -> None:
    place = ready(world, GOOD_ONE)
    assert world.api.post(f"{place}/submit").json()["state"] == "offered"
    refused(world.api.post(f"{place}/review", json={}), 409, "no_review")
    refused(review(world, place, **OFFER), 409, "impossible_in_this_state")


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"limit": "200000.01"}, "offer_out_of_range", "limit"),
        ({"limit": "1.00"}, "offer_out_of_range", "limit"),
        ({"limit": "150000.001"}, "offer_out_of_range", "limit"),
        ({"limit": "NaN"}, "offer_out_of_range", "limit"),
        ({"annual_rate": "0.3601"}, "offer_out_of_range", "annual_rate"),
        ({"annual_rate": "0"}, "offer_out_of_range", "annual_rate"),
        ({"annual_rate": None}, "offer_does_not_fit", "annual_rate"),
        ({"conclusion": "decline"}, "offer_does_not_fit", "limit"),
        ({"conclusion": "perhaps"}, "invalid_field", "conclusion"),
    ],
)
def test_an_offer_out_of_bounds_is_refused_and_the_application_waits_on(
    world: World, changes: dict[str, Any], code: str, named: str
) -> None:
    place = declined(world)
    world.api.post(f"{place}/review", json={})
    refused(review(world, place, **{**OFFER, **changes}), 422, code, named)
    assert world.api.get(place).json()["application"]["state"] == "referred"


def test_where_the_bank_decides_the_reviewed_application_goes_to_it(world: World) -> None:
    place = declined(world, mode="standard")
    world.api.post(f"{place}/review", json={})
    refused(review(world, place, **OFFER), 422, "offer_does_not_fit", "limit")
    assert review(world, place, conclusion="approve", note="the bank shall look").json()["state"] == "scored"


def test_another_bank_sees_none_of_it(world: World) -> None:
    place = declined(world)
    world.api.post(f"{place}/review", json={})
    refused(world.other.get(f"{place}/explanation"), 404, "unknown_application", "application_id")
    refused(world.other.post(f"{place}/review", json={}), 404, "unknown_application", "application_id")
    # The other bank's client is no reviewer at all.
    refused(world.other.get("/v1/reviews"), 403, "insufficient_scope")
