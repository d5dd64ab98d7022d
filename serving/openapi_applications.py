"""The part of the OpenAPI document that is about applications, from the same table as the routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from credit301.domain.text import Text
from serving.applications import IDEMPOTENCY_KEY, ONE, PLACE
from serving.endpoint import Endpoint
from serving.reviews import REVIEWS

Json = dict[str, Any]
_SAID = {
    ("POST", PLACE): ("createApplication", Text(zh="新建申请（草稿）", en="Begin an application (a draft)")),
    ("GET", ONE): ("showApplication", Text(zh="查询申请及其历史", en="An application with its history")),
    ("PATCH", ONE): ("amendApplication", Text(zh="修改草稿", en="Change a draft")),
    ("POST", f"{ONE}/consent"): (
        "consentToApplication",
        Text(zh="登记企业授权", en="Record the enterprise's consent"),
    ),
    ("POST", f"{ONE}/identity/phone"): (
        "startPhoneVerification",
        Text(zh="发送手机验证码", en="Send a code to the applicant's telephone"),
    ),
    ("POST", f"{ONE}/identity/phone/code"): (
        "confirmPhoneVerification",
        Text(zh="确认手机验证码", en="Confirm the code"),
    ),
    ("POST", f"{ONE}/identity/face"): ("recogniseFace", Text(zh="人脸核验", en="Compare the applicant's face")),
    ("GET", f"{ONE}/prefill"): (
        "prefillApplication",
        Text(zh="查询已有的政务数据，免于填写", en="What government data say already, so that nobody types it"),
    ),
    ("POST", f"{ONE}/submit"): (
        "submitApplication",
        Text(zh="提交并即时决策；重复提交返回同一结果", en="Submit and decide; again, it answers the same"),
    ),
    ("POST", f"{ONE}/accept"): ("acceptOffer", Text(zh="接受授信方案", en="Accept the offer")),
    ("GET", f"{ONE}/explanation"): (
        "explainDecision",
        Text(zh="说明决策的原因与所用数据", en="Why it was decided so, and from which data"),
    ),
    ("POST", f"{ONE}/review"): ("askForReview", Text(zh="被拒绝后申请人工复核", en="Ask for a review by a person")),
    ("GET", REVIEWS): ("listReviews", Text(zh="列出等待人工复核的申请", en="Applications that wait for a person")),
    ("POST", f"{REVIEWS}/{{application_id}}"): ("concludeReview", Text(zh="作出复核结论", en="Conclude a review")),
    ("POST", f"{ONE}/withdraw"): ("withdrawApplication", Text(zh="撤回申请", en="Withdraw the application")),
}
_READS_DATA = {f"{ONE}/submit", f"{ONE}/prefill"}


def problems_of(endpoint: Endpoint) -> Sequence[int]:
    """Statuses other than success that the endpoint may answer with."""
    found = {409, 503}
    if "{" in endpoint.path:
        found.add(404)
    if endpoint.body is not None:
        found |= {400, 408, 413, 422}
    if endpoint.path in _READS_DATA:
        found |= {403, 422}
    return sorted(found)


def parameters(endpoint: Endpoint) -> list[Json]:
    """What is in the address and the headers."""
    if endpoint.path == PLACE:
        schema = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{8,128}$"}
        described = "每个新申请一个；重复发送不会重复创建 / a new one for each new application; repeats create nothing"
        return [{"name": IDEMPOTENCY_KEY, "in": "header", "required": True, "description": described, "schema": schema}]
    if "{" not in endpoint.path:
        return []
    return [
        {
            "name": "application_id",
            "in": "path",
            "required": True,
            "description": "申请编号 / the application's number",
            "schema": {"type": "string", "format": "uuid"},
        }
    ]


def said(endpoint: Endpoint) -> tuple[str, Text]:
    """The operation's name, and what it does."""
    return _SAID[endpoint.method, endpoint.path]
