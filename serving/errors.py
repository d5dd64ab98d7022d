"""One shape for everything that is refused or fails, in both languages, with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from credit301.applications.database import ApplicationsBusy, ApplicationsUnavailable
from credit301.applications.desk import BeingDecided
from credit301.applications.states import WrongState
from credit301.applications.store import Changed, UnknownApplication
from credit301.applications.verification import IdentityUnavailable
from credit301.domain.text import NOTHING, Refusal, Text
from credit301.errors import AuditError, FeatureStoreError, ModelError
from credit301.governance.consent.coverage import ConsentMissing
from credit301.governance.consent.ledger import ConsentUnavailable
from credit301.model.scorer import NothingKnown
from serving.features import StoreUnreachable


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong: ``code`` for programs, ``field`` where one field of the request is to blame."""

    code: str
    field: str | None
    message: Text
    hint: Text
    request_id: str


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: ErrorDetail


@dataclass(frozen=True)
class Problem:
    """An answer other than success: ``status``, a stable ``code``, words, and the ``field`` of the request to blame."""

    status: int
    code: str
    message: Text
    field: str | None = None
    hint: Text = NOTHING
    headers: Mapping[str, str] = dataclass_field(default_factory=dict)


class ApiError(Exception):
    """Raised where a request ends with ``problem``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message.en)
        self.problem = problem


RETRY_AFTER = {"Retry-After": "2"}
_LATER = Text(
    zh="请稍后重试；若持续出现，请联系平台运维。",
    en="Try again shortly; if it goes on, tell whoever runs the platform.",
)

BODY_TOO_SLOW = Problem(
    408,
    "body_too_slow",
    Text(zh="请求体未在规定时间内到达。", en="The body did not arrive in time."),
    hint=_LATER,
    headers={"Connection": "close"},
)
NO_MODEL = Problem(
    503,
    "model_unavailable",
    Text(zh="当前没有通过准入的模型可用。", en="No promoted model is loaded."),
    hint=Text(
        zh="请先训练并通过准入门禁（credit301 train、credit301 promote）。",
        en="Train a model and pass the gate (credit301 train, credit301 promote).",
    ),
    headers=RETRY_AFTER,
)
NO_STRATEGY = Problem(
    503,
    "no_strategy",
    Text(zh="没有适用于该申请的授信策略。", en="No strategy decides on such an application."),
    hint=Text(
        zh="请在工作区 strategies/ 下配置策略（credit301 strategy check）。",
        en="Write one below strategies/ in the workspace (credit301 strategy check).",
    ),
)
STRATEGY_UNFIT = Problem(
    503,
    "strategy_unfit",
    Text(zh="策略所需的特征不在当前模型中。", en="The strategy reads features that the model in use has not got."),
    hint=Text(
        zh="请重新训练模型，或修改策略；服务日志列出所缺特征。",
        en="Train a model again, or change the strategy; the service's log names them.",
    ),
)
STORE_DOWN = Problem(
    503,
    "features_unavailable",
    Text(zh="在线特征库暂时无法访问。", en="The online feature store cannot be reached."),
    hint=_LATER,
    headers=RETRY_AFTER,
)
UNREADABLE = Problem(
    503,
    "features_unreadable",
    Text(zh="特征库中的数据与当前模型不符。", en="The stored features do not fit the model in use."),
    hint=_LATER,
    headers=RETRY_AFTER,
)
UNRECORDED = Problem(
    503,
    "audit_unavailable",
    Text(zh="无法记录本次查询，未返回任何数据。", en="The read could not be recorded, so nothing is answered."),
    hint=_LATER,
    headers=RETRY_AFTER,
)
CONSENT_UNAVAILABLE = Problem(
    503,
    "consent_unavailable",
    Text(
        zh="授权未能登记完整：台账或在线库没有响应。",
        en="The consent is not recorded in full: the ledger or the online store did not answer.",
    ),
    hint=Text(zh="请重试，直到成功为止。", en="Send it again until it succeeds."),
    headers=RETRY_AFTER,
)
APPLICATIONS_DOWN = Problem(
    503,
    "applications_unavailable",
    Text(
        zh="申请库没有响应，或其数据表尚未建立。",
        en="The database of applications does not answer, or has not got its tables.",
    ),
    hint=Text(
        zh="启动 PostgreSQL（credit301 up）并执行 credit301 applications migrate；/v1/decisions 不受影响。",
        en="Start PostgreSQL (credit301 up) and run credit301 applications migrate; /v1/decisions works without.",
    ),
    headers=RETRY_AFTER,
)
IDENTITY_DOWN = Problem(
    503,
    "identity_unavailable",
    Text(
        zh="身份核验服务没有响应，未作出任何结论。", en="The identity provider does not answer; nothing was concluded."
    ),
    hint=_LATER,
    headers=RETRY_AFTER,
)
BUSY = Problem(
    429,
    "too_busy",
    Text(zh="请求过多，已拒绝排队。", en="Too many requests wait already."),
    hint=_LATER,
    headers=RETRY_AFTER,
)
UNKNOWN_APPLICATION = Problem(
    404,
    "unknown_application",
    Text(zh="没有此编号的申请。", en="There is no application of this number."),
    field="application_id",
    hint=Text(zh="请使用新建申请时返回的编号。", en="Use the number that was given when it was created."),
)
BEING_DECIDED = Problem(
    409,
    "being_decided",
    Text(zh="另一个请求正在决策此申请。", en="Another request is deciding on this application."),
    hint=Text(zh="请稍后查询结果。", en="Ask for it again in a moment."),
    headers=RETRY_AFTER,
)
CHANGED = Problem(
    409,
    "changed_meanwhile",
    Text(zh="申请刚刚被其他请求修改。", en="Another request changed the application at this moment."),
    hint=Text(zh="请重新查询后再试。", en="Read it again, then try again."),
)
INTERNAL = Problem(500, "internal_error", Text(zh="服务内部错误。", en="The service failed."), hint=_LATER)


_FAILURES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Problem], ...] = (
    (ConsentUnavailable, CONSENT_UNAVAILABLE),
    (ApplicationsUnavailable, APPLICATIONS_DOWN),
    (ApplicationsBusy, BUSY),
    (UnknownApplication, UNKNOWN_APPLICATION),
    (BeingDecided, BEING_DECIDED),
    (Changed, CHANGED),
    (IdentityUnavailable, IDENTITY_DOWN),
    (AuditError, UNRECORDED),
    (StoreUnreachable, STORE_DOWN),
    ((FeatureStoreError, ModelError), UNREADABLE),
)


def too_large(limit: int) -> Problem:
    """A body above ``limit`` bytes."""
    return Problem(
        413,
        "body_too_large",
        Text(zh=f"请求体超过 {limit} 字节。", en=f"The body is larger than {limit} bytes."),
        hint=Text(zh="只需发送企业代码、金额与期限。", en="Send only the enterprise's code, the amount and the term."),
    )


def unknown_enterprise(key: str) -> Problem:
    """The store has nothing at all under the key (which is in the request, and so is not repeated here)."""
    return Problem(
        404,
        "unknown_enterprise",
        Text(zh="特征库中没有该企业的任何数据。", en="The feature store has no data on this enterprise."),
        field=key,
        hint=Text(
            zh="请核对代码；新接入的企业需先完成数据同步与特征物化。",
            en="Check the code; a new enterprise needs its data pulled and its features materialized first.",
        ),
    )


def for_status(status: int) -> Problem:
    """The error that a router's plain status means."""
    match status:
        case 404:
            return Problem(
                404,
                "not_found",
                Text(zh="没有这个路径。", en="There is no such path."),
                hint=Text(zh="接口说明见 /docs。", en="See /docs for the paths."),
            )
        case 405:
            return Problem(
                405,
                "method_not_allowed",
                Text(zh="该路径不支持此方法。", en="This path does not take that method."),
                hint=Text(zh="接口说明见 /docs。", en="See /docs for the methods."),
            )
    message = Text(zh="请求无法处理。", en="The request cannot be handled.")
    return Problem(status, "bad_request", message) if status < HTTPStatus.INTERNAL_SERVER_ERROR else INTERNAL


def of(error: Exception, key: str) -> Problem:
    """The answer that an error of the platform becomes; ``key`` is the entity's field."""
    match error:
        case ApiError(problem=problem):
            return problem
        case WrongState():
            return Problem(409, error.code, error.text, field=error.field, hint=error.hint_text)
        case Refusal():
            return Problem(422, error.code, error.text, field=error.field, hint=error.hint_text)
        case ConsentMissing():
            return Problem(403, "consent_missing", error.text, field=key, hint=error.hint_text)
        case NothingKnown():
            return unknown_enterprise(key)
    # The store that holds something else than the model was promoted for is not the caller's doing.
    return next((problem for kinds, problem in _FAILURES if isinstance(error, kinds)), INTERNAL)


def body(problem: Problem, request_id: str) -> ErrorBody:
    """``problem`` as the body of an answer."""
    return ErrorBody(ErrorDetail(problem.code, problem.field, problem.message, problem.hint, request_id))


def response(problem: Problem, request_id: str) -> Response:
    """``problem`` as an HTTP response."""
    return Response(
        msgspec.json.encode(body(problem, request_id)),
        status_code=problem.status,
        media_type="application/json",
        headers={**problem.headers, "X-Request-ID": request_id},
    )
