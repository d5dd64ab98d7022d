"""What is sent and answered about applications."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from credit301.applications.identity import Kind, Outcome
from credit301.applications.prefill import Prefilled
from credit301.applications.records import Application, LoanPurpose, Step
from credit301.applications.states import TITLES, Actor, Event, Mode, State, allowed
from credit301.domain.text import Text

Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Note = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]*$")]
_Amount = Annotated[Decimal, Meta(description="申请金额（元） / amount asked for (yuan)", examples=["200000.00"])]
_Months = Annotated[int, Meta(description="期限（月） / term in months", examples=[12], ge=1, le=360)]
_Product = Annotated[Word, Meta(description="产品 / product", examples=["working_capital_loan"])]
_Purpose = Annotated[LoanPurpose, Meta(description="借款用途 / what the money is for", examples=["working_capital"])]
_Name = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=40,
        pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]+$",
        description="申请人姓名 / the applicant's name",
        examples=["张三"],
    ),
]
_IdNumber = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{17}[0-9Xx]$",
        description="申请人身份证号，只保存带密钥的哈希 / identity number; only a keyed hash is kept",
        examples=["110101199003070000"],
    ),
]
DEFAULT_PRODUCT = "working_capital_loan"


class ApplicationDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """修改草稿，只发送要修改的字段 / changes of a draft: send what is to change"""

    amount: Annotated[Decimal | None, Meta(description="申请金额（元） / amount (yuan)", examples=["150000.00"])] = None
    term_months: Annotated[
        Annotated[int, Meta(ge=1, le=360)] | None, Meta(description="期限（月） / term in months", examples=[24])
    ] = None
    product: Annotated[Word | None, Meta(description="产品 / product", examples=["working_capital_loan"])] = None
    purpose: Annotated[LoanPurpose | None, Meta(description="借款用途 / what for", examples=["equipment"])] = None


class ApplicationConsent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """登记企业为本申请所作的授权 / the consent that the enterprise gives for this application"""

    valid_until: Annotated[
        Annotated[datetime, Meta(tz=True)],
        Meta(description="失效时间 / until when", examples=["2030-12-31T23:59:59+08:00"]),
    ]
    note: Annotated[Note, Meta(description="授权凭证 / what proves it", examples=["FORM-1"])] = ""


class PhoneStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """向申请人手机发送验证码 / send a code to the applicant's telephone"""

    name: _Name
    id_number: _IdNumber
    phone: Annotated[
        str,
        Meta(
            pattern=r"^1[3-9][0-9]{9}$",
            description="手机号，只保存带密钥的哈希 / telephone; only a keyed hash is kept",
            examples=["13800000001"],
        ),
    ]


class PhoneConfirmation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """确认手机验证码 / confirm the code"""

    check: Annotated[
        UUID,
        Meta(description="核验编号 / number of the check", examples=["01a20e49-3bd4-7c59-8ed6-a03f49507af5"]),
    ]
    code: Annotated[str, Meta(pattern=r"^[0-9]{4,8}$", description="验证码 / the code", examples=["123456"])]


class FaceCapture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """人脸核验 / compare a face"""

    name: _Name
    id_number: _IdNumber
    capture: Annotated[
        str,
        Meta(
            min_length=4,
            max_length=4096,
            pattern=r"^[A-Za-z0-9._~+/=-]+$",
            description="采集凭证，由核验服务的采集程序给出 / token of the capture, from the provider's own program",
            examples=["live-4f1c"],
        ),
    ]


class ApplicationWithdrawal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """撤回申请 / withdraw the application"""

    reason: Annotated[Note, Meta(description="撤回原因 / why", examples=["不再需要"])] = ""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """授信方案 / an offer. Money in yuan, the rate as a share of one."""

    limit: Annotated[Decimal | None, Meta(description="额度（元） / limit in yuan")]
    annual_rate: Annotated[Decimal | None, Meta(description="年利率 / annual rate")]
    term_months: Annotated[int, Meta(description="期限（月） / term in months")]


class ApplicationState(msgspec.Struct, frozen=True, kw_only=True):
    """一笔申请的当前状态 / an application as it stands"""

    application_id: Annotated[UUID, Meta(description="申请编号 / identifies it")]
    entity: Annotated[str, Meta(description="企业标识 / the enterprise's key")]
    mode: Annotated[Mode, Meta(description="standard 由银行审批，platform 由平台审批 / who decides")]
    product: Annotated[str, Meta(description="产品 / product")]
    purpose: Annotated[LoanPurpose, Meta(description="借款用途 / what the money is for")]
    amount: Annotated[Decimal, Meta(description="申请金额（元） / amount asked for, in yuan")]
    term_months: Annotated[int, Meta(description="期限（月） / term in months")]
    state: Annotated[State, Meta(description="状态 / where it stands")]
    state_title: Annotated[Text, Meta(description="状态名称 / the state's name")]
    possible: Annotated[tuple[Event, ...], Meta(description="此后可能发生的事件 / what may happen next")]
    consent_id: Annotated[str | None, Meta(description="授权编号 / number of the consent")]
    phone_verified_at: Annotated[datetime | None, Meta(description="手机核验时间 / when the telephone was verified")]
    face_verified_at: Annotated[datetime | None, Meta(description="人脸核验时间 / when the face was verified")]
    decision_id: Annotated[UUID | None, Meta(description="决策编号 / number of the decision")]
    decision: Annotated[
        dict[str, Any] | None,
        Meta(description="决策，同 /v1/decisions 的应答 / the decision, as /v1/decisions answers"),
    ]
    offer: Annotated[Offer | None, Meta(description="授信方案 / the offer")]
    created_at: Annotated[datetime, Meta(description="创建时间 / when it was created")]
    updated_at: Annotated[datetime, Meta(description="更新时间 / when it changed last")]
    expires_at: Annotated[datetime, Meta(description="失效时间 / when it ends by itself")]

    @classmethod
    def of(cls, found: Application) -> ApplicationState:
        """``found``, as it is answered."""
        details = found.details
        return cls(
            application_id=found.id,
            entity=found.entity,
            mode=found.mode,
            product=details.product,
            purpose=details.purpose,
            amount=details.amount,
            term_months=details.term_months,
            state=found.state,
            state_title=TITLES[found.state],
            possible=allowed(found.state, found.mode),
            consent_id=found.consent_id,
            phone_verified_at=found.phone_verified_at,
            face_verified_at=found.face_verified_at,
            decision_id=found.decision_id if found.decision is not None else None,
            decision=found.decision,
            offer=None
            if found.limit is None
            else Offer(limit=found.limit, annual_rate=found.annual_rate, term_months=details.term_months),
            created_at=found.created_at,
            updated_at=found.updated_at,
            expires_at=found.expires_at,
        )


class HistoryLine(msgspec.Struct, frozen=True, kw_only=True):
    """申请历史中的一步 / one step of its history"""

    event: Annotated[Event, Meta(description="事件 / what happened")]
    from_state: Annotated[State | None, Meta(description="此前状态 / the state before")]
    to_state: Annotated[State, Meta(description="此后状态 / the state after")]
    actor: Annotated[Actor, Meta(description="由谁触发 / who caused it")]
    by: Annotated[str, Meta(description="触发者名称 / by which name")]
    at: Annotated[datetime, Meta(description="时间 / when")]
    detail: Annotated[dict[str, Any], Meta(description="说明 / what else there is to say")]

    @classmethod
    def of(cls, step: Step) -> HistoryLine:
        """``step``, as it is answered."""
        return cls(**msgspec.structs.asdict(step))


class ApplicationView(msgspec.Struct, frozen=True, kw_only=True):
    """申请及其历史 / an application with its history"""

    application: Annotated[ApplicationState, Meta(description="当前状态 / as it stands")]
    history: Annotated[tuple[HistoryLine, ...], Meta(description="历史，按时间顺序 / in order")]


class IdentityCheck(msgspec.Struct, frozen=True, kw_only=True):
    """一次身份核验的结果 / what came of a verification"""

    check: Annotated[UUID, Meta(description="核验编号 / number of the check")]
    kind: Annotated[Kind, Meta(description="核验种类 / what was verified")]
    outcome: Annotated[Outcome, Meta(description="结果 / what the provider says")]
    reason: Annotated[str, Meta(description="原因代码，可为空 / why, as a stable word; may be empty")]
    trials_left: Annotated[int, Meta(description="剩余次数 / trials that are left")]


class PrefillView(msgspec.Struct, frozen=True, kw_only=True):
    """政务数据中已有、无须填写的信息 / what government data say already, so that nobody has to type it"""

    fields: Annotated[tuple[Prefilled, ...], Meta(description="已有的信息 / what is known")]
    withheld_sources: Annotated[tuple[str, ...], Meta(description="未获授权的来源 / sources without consent")]


def create_type(key: str, example: str) -> type[msgspec.Struct]:
    """The struct of a request for a new application, with the entity's key under its own name ``key``."""
    described = f"企业标识（{key}） / the enterprise's key ({key})"
    entity = Annotated[str, Meta(min_length=1, max_length=64, description=described, examples=[example])]
    mode = Annotated[Mode, Meta(description="审批方式 / who decides", examples=["platform"])]
    fields: list[Any] = [
        ("entity", entity),
        ("amount", _Amount),
        ("term_months", _Months),
        ("product", _Product, DEFAULT_PRODUCT),
        ("purpose", _Purpose, LoanPurpose.WORKING_CAPITAL),
        ("mode", mode, Mode.PLATFORM),
    ]
    return msgspec.defstruct(
        "ApplicationRequest",
        fields,
        rename={"entity": key},
        forbid_unknown_fields=True,
        frozen=True,
        kw_only=True,
        namespace={"__doc__": "新建申请 / a new application"},
    )
