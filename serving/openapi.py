"""The OpenAPI 3.1 document, generated from the structs that requests are read into and answers written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from credit301.domain.decision import Decision
from serving import errors, openapi_access, openapi_applications, openapi_partners, refusals
from serving import openapi_parts as parts
from serving.access import token_api
from serving.consents import ConsentList, ConsentState
from serving.endpoint import Endpoint
from serving.errors import ErrorBody
from serving.events import EventReceipt
from serving.requests import LARGEST_BODY
from serving.status import Health, ModelStatus, Readiness

Json = dict[str, Any]
_DECISION = "DecisionRequest"
_APPLICATION = "ApplicationRequest"


def document(
    version: str,
    title: str,
    application: type[msgspec.Struct],
    consents: Sequence[type[msgspec.Struct]],
    events: Mapping[str, type[msgspec.Struct]] | None = None,
    applications: Sequence[Endpoint] = (),
    *,
    banks: bool = False,
) -> Json:
    """The document of this service.

    Args:
        version: of the service.
        title: whose it is.
        application: the struct of a request for a decision.
        consents: the structs of a grant, a withdrawal and a query of consent.
        events: the struct of some events, by path.
        applications: the routes of applications.
        banks: whether messages of banks are taken.
    """
    posted = events or {}
    structs = [kind for endpoint in applications for kind in (endpoint.body, endpoint.answer) if kind is not None]
    types = (
        application, Decision, *consents, ConsentState, ConsentList, *posted.values(), EventReceipt, *structs,
        ErrorBody, ModelStatus, Health, Readiness, *openapi_access.TYPES, *(openapi_partners.TYPES if banks else ()),
    )  # fmt: skip
    _, components = msgspec.json.schema_components(types, ref_template=parts.TEMPLATE)
    # A Decimal is read from a number as well as from a text, which msgspec's schema does not say.
    for name in {_DECISION, _APPLICATION} & components.keys():
        properties = components[name]["properties"]
        kept = {key: value for key, value in properties["amount"].items() if key not in ("type", "format")}
        properties["amount"] = {"anyOf": [{"type": "string", "format": "decimal"}, {"type": "number"}], **kept}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Credit301 · {title}",
            "version": version,
            "description": (
                "小微企业实时授信决策接口：提交企业标识、金额与期限，即时得到是否批准、额度、利率与原因。\n\n"
                "Real-time credit decisions for small enterprises: send who, how much and for how long; the answer is "
                "yes or no, the limit, the rate and the reasons. Every message is in Chinese and English."
            ),
        },
        "tags": [
            {"name": "decisions", "description": "决策 / decisions"},
            {"name": "consents", "description": "授权 / consents"},
            {"name": "applications", "description": "申请 / applications"},
            {"name": "banks", "description": "银行报文 / messages of banks"},
            {"name": "events", "description": "行为事件 / events"},
            {"name": "access", "description": "令牌 / tokens"},
            {"name": "operations", "description": "运行状态 / operations"},
        ],
        "paths": _secured(
            {
                "/v1/decisions": {"post": _decisions(components)},
                "/v1/consents": {"post": _grant(components)},
                "/v1/consents/withdrawals": {"post": _withdraw(components)},
                "/v1/consents/queries": {"post": _query(components)},
                **{path: {"post": _post_events(components, kind.__name__)} for path, kind in posted.items()},
                **_applications(components, applications),
                **(openapi_partners.paths() if banks else {}),
                "/v1/model": {"get": _model()},
                "/healthz": {
                    "get": parts.operation("health", "进程是否存活", "Whether the process is alive", Health, ())
                },
                "/readyz": {"get": _ready()},
                "/metrics": {"get": _metrics()},
                token_api.PATH: {"post": openapi_access.token()},
                token_api.JWKS_PATH: {"get": openapi_access.jwks()},
            }
        ),
        "components": {
            "schemas": components,
            "securitySchemes": openapi_access.schemes(),
        },
    }


def _secured(paths: Json) -> Json:
    """``paths``, each operation with the scope that its route asks for and the refusals that follow from it."""
    for path, item in paths.items():
        for method, operation in item.items():
            operation["security"] = openapi_access.security(method.upper(), path)
            if operation["security"]:
                missing = [status for status in openapi_access.REFUSALS if str(status) not in operation["responses"]]
                operation["responses"] |= parts.problems(missing)
    return paths


def _decisions(components: Json) -> Json:
    operation = parts.operation(
        "decide",
        "对一笔授信申请作出决策",
        "Decide on one request for credit",
        Decision,
        (400, 401, 403, 404, 408, 413, 422, 429, 503),
        tag="decisions",
        described=(
            "须先登记企业对调用方的授权（/v1/consents）；每次查询都留有审计记录。"
            "从在线特征库一次读取该企业的全部特征，经各来源子模型、集成、校准与政策得出结果。"
            "没有数据的来源会如实列出，不视为不良。\n\n"
            "The enterprise's consent to the caller must be recorded first (/v1/consents); each read is on record. "
            "Reads every feature of the enterprise in one round trip, then scores, calibrates and applies the policy. "
            "A source without data is listed as such and is not held against the enterprise."
        ),
    )
    operation["parameters"] = [openapi_access.deadline()]
    _takes(operation, components, _DECISION, "一笔申请 / one application")
    for status, problem in _EXAMPLES.items():
        content = operation["responses"][str(status)]["content"]["application/json"]
        content["example"] = msgspec.to_builtins(errors.body(problem, "4f1c..."))
    return operation


def _grant(components: Json) -> Json:
    operation = parts.operation(
        "grantConsent",
        "登记企业对调用方的授权",
        "Record a consent that an enterprise has given to the caller",
        ConsentState,
        (400, 408, 413, 422, 503),
        tag="consents",
    )
    operation["responses"] = {"201": operation["responses"].pop("200"), **operation["responses"]}
    return _takes(operation, components, "ConsentGrant", "一项授权 / one consent")


def _withdraw(components: Json) -> Json:
    operation = parts.operation(
        "withdrawConsent",
        "撤回授权，自下一次查询起生效",
        "Withdraw a consent; the next decision no longer reads by it",
        ConsentState,
        (400, 408, 413, 422, 503),
        tag="consents",
    )
    return _takes(operation, components, "ConsentWithdrawal", "一次撤回 / one withdrawal")


def _query(components: Json) -> Json:
    operation = parts.operation(
        "listConsents",
        "列出企业对调用方的全部授权",
        "List every consent that an enterprise has given to the caller",
        ConsentList,
        (400, 408, 413, 422, 503),
        tag="consents",
    )
    return _takes(operation, components, "ConsentQuery", "一家企业 / one enterprise")


def _post_events(components: Json, name: str) -> Json:
    operation = parts.operation(
        f"post{name}",
        "提交刚刚发生的事件，计入滑动窗口",
        "Post events as they happen; they are counted in the sliding windows",
        EventReceipt,
        (400, 408, 413, 422, 503),
        tag="events",
        described=(
            "事件先落盘、后计数；同一事件编号重复提交不会重复计数，未得到应答时请原样重发。\n\n"
            "Events are on disk before they are counted. One of the same number is not counted twice: send the same "
            "events again where there was no answer."
        ),
    )
    return _takes(operation, components, name, "一批事件 / some events")


def _applications(components: Json, endpoints: Sequence[Endpoint]) -> Json:
    paths: Json = {}
    for endpoint in endpoints:
        name, does = openapi_applications.said(endpoint)
        problems = openapi_applications.problems_of(endpoint)
        operation = parts.operation(name, does.zh, does.en, endpoint.answer, problems, tag="applications")
        operation["parameters"] = openapi_applications.parameters(endpoint)
        if endpoint.status != HTTPStatus.OK:
            operation["responses"] = {
                str(int(endpoint.status)): operation["responses"].pop("200"),
                **operation["responses"],
            }
        if endpoint.body is not None:
            _takes(operation, components, endpoint.body.__name__, f"{does.zh} / {does.en}")
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return paths


def _takes(operation: Json, components: Json, name: str, summary: str) -> Json:
    """``operation`` with the struct ``name`` as its body and one example made of the fields' own."""
    example = {field: schema["examples"][0] for field, schema in components[name]["properties"].items()}
    operation["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": parts.TEMPLATE.format(name=name)},
                "examples": {"default": {"summary": summary, "value": example}},
            }
        },
    }
    return operation


def _model() -> Json:
    return parts.operation("model", "当前使用的模型", "The model in use, since when, and its metrics", ModelStatus, ())


def _ready() -> Json:
    operation = parts.operation(
        "ready", "能否作出决策", "Whether it can decide: which part is not ready", Readiness, ()
    )
    operation["responses"]["503"] = {
        "description": "尚未就绪 / not ready",
        "content": parts.content(Readiness),
    }
    return operation


def _metrics() -> Json:
    operation = parts.operation("metrics", "Prometheus 指标", "Metrics for Prometheus", None, ())
    operation["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    return operation


_EXAMPLES = {401: refusals.UNAUTHORISED, 413: errors.too_large(LARGEST_BODY), 503: errors.STORE_DOWN}


def for_page(node: Any) -> Any:
    """``node`` of the document as OpenAPI 3.0 says it, for the bundled Swagger UI, which does not read 3.1.

    ``anyOf`` with ``null`` becomes ``nullable``, a schema's ``examples`` the first, ``const`` a one-valued ``enum``.
    """
    if isinstance(node, list):
        return [for_page(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: for_page(value) for key, value in node.items()}
    if result.get("openapi") == "3.1.0":
        result["openapi"] = "3.0.3"
    choices = result.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        del result["anyOf"]
        if len(rest) == 1 and "$ref" not in rest[0]:
            result.update(rest[0])
        else:
            result["anyOf"] = rest
        result["nullable"] = True
    if isinstance(result.get("examples"), list):
        result["example"] = result.pop("examples")[0]
    if "const" in result:
        result["enum"] = [result.pop("const")]
    return result
