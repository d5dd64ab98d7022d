"""What the platform and banks tell one another: the types from which the published schemas are made.

Money is exact decimal text in yuan, rates are shares of one, moments have an offset. A receiver knows a message by its
``message_id`` and applies it once, however often it comes.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from credit301.applications.records import LoanPurpose
from credit301.domain.text import Text

VERSION = "1.0"
Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:-]+$")]
Note = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]*$")]
Moment = Annotated[datetime, Meta(tz=True)]
Months = Annotated[int, Meta(ge=1, le=360)]


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    version: Annotated[Literal["1.0"], Meta(description="格式版本 / version of this form")]
    created_at: Annotated[Moment, Meta(description="报文生成时间 / when the message came to be")]


class _ToBank(_Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    message_id: Annotated[
        UUID, Meta(description="报文编号，重发不变 / identifies the message, however often it is sent")
    ]
    sender: Annotated[str, Meta(description="平台（城市） / the platform's city")]
    recipient: Annotated[str, Meta(description="收件银行 / the bank")]
    application_id: Annotated[UUID, Meta(description="申请编号 / the application")]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """申请内容 / what is applied for."""

    entity: Annotated[str, Meta(description="企业标识 / the enterprise's key")]
    product: Annotated[str, Meta(description="产品 / product")]
    purpose: Annotated[LoanPurpose, Meta(description="借款用途 / what the money is for")]
    amount: Annotated[Decimal, Meta(description="申请金额（元） / amount asked for, in yuan")]
    term_months: Annotated[int, Meta(description="期限（月） / term in months")]


class ConsentReference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """授权依据 / the consents that the data were read by."""

    consent_id: Annotated[str | None, Meta(description="本申请的授权编号 / consent given for this application")]
    relied_upon: Annotated[
        tuple[str, ...], Meta(description="决策所依据的授权 / consents that the decision relied upon")
    ]


class IdentityReference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """身份核验凭证，不含个人信息 / a verification at the provider; nothing in it names the person."""

    kind: Annotated[str, Meta(description="核验种类 / what was verified")]
    reference: Annotated[str, Meta(description="核验机构编号 / the provider's number")]
    verified_at: Annotated[datetime | None, Meta(description="通过时间 / when it passed")]


class PrefilledValue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """政务数据中已有的信息 / what government data say."""

    name: Annotated[str, Meta(description="名称 / name")]
    label: Annotated[Text, Meta(description="标题 / what it is called")]
    value: Annotated[Any, Meta(description="值 / value")]
    unit: Annotated[str, Meta(description="单位 / unit")]
    source: Annotated[str, Meta(description="数据源 / source")]
    as_of: Annotated[datetime | None, Meta(description="数据时点 / since when it is so")]


class PackageReason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """原因 / a reason, the most important first."""

    code: Annotated[str, Meta(description="原因代码 / stable word")]
    direction: Annotated[
        Literal["adverse", "favourable", "neutral"], Meta(description="不利、有利或中性 / which way it speaks")
    ]
    text: Annotated[Text, Meta(description="说明 / in words")]
    source: Annotated[str | None, Meta(description="数据源 / source, if it is one's")]


class GroupScore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """特征组得分 / the sub-score of a group of features."""

    dimension: Annotated[str, Meta(description="特征组 / group")]
    title: Annotated[Text, Meta(description="名称 / its name")]
    has_data: Annotated[bool, Meta(description="是否有数据 / whether there are data")]
    score: Annotated[int | None, Meta(description="得分 / points")]
    probability: Annotated[float | None, Meta(description="违约概率 / probability of default")]


class PackageVersions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """所用版本 / versions used."""

    model: Annotated[str, Meta(description="模型 / model")]
    features: Annotated[str, Meta(description="特征 / features")]
    strategy: Annotated[str, Meta(description="策略 / strategy")]


class Assessment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """平台的评估，未授予该银行的项为空 / what the platform found; empty where the bank is not entitled to it."""

    decision_id: Annotated[UUID, Meta(description="决策编号 / the decision")]
    decided_at: Annotated[datetime, Meta(description="决策时间 / when it was made")]
    probability: Annotated[float | None, Meta(description="12个月违约概率 / probability of default")]
    score: Annotated[int | None, Meta(description="评分 / points")]
    band: Annotated[str | None, Meta(description="风险等级 / risk band")]
    limit: Annotated[Decimal | None, Meta(description="建议额度（元） / limit by the strategy, in yuan")]
    annual_rate: Annotated[Decimal | None, Meta(description="建议年利率 / annual rate by the strategy")]
    reasons: Annotated[tuple[PackageReason, ...], Meta(description="原因 / reasons")]
    dimensions: Annotated[tuple[GroupScore, ...], Meta(description="特征组得分 / sub-scores by feature group")]
    missing_sources: Annotated[tuple[str, ...], Meta(description="没有数据的来源 / sources without data")]
    withheld_sources: Annotated[tuple[str, ...], Meta(description="未获授权的来源 / sources without consent")]
    versions: Annotated[PackageVersions, Meta(description="版本 / versions used")]


class ApplicationPackage(_ToBank, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="application_package"):
    """标准进件包 / the standard application package: the bank decides."""

    application: Annotated[Asked, Meta(description="申请内容 / what is applied for")]
    consent: Annotated[ConsentReference, Meta(description="授权依据 / consents")]
    identity: Annotated[tuple[IdentityReference, ...], Meta(description="身份核验凭证 / verifications")]
    prefilled: Annotated[tuple[PrefilledValue, ...], Meta(description="预填信息 / prefilled data")]
    assessment: Annotated[Assessment, Meta(description="平台的评估 / what the platform found")]


class DisbursementInstruction(
    _ToBank, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="disbursement_instruction"
):
    """放款指令 / the instruction to pay: the platform decided, and the enterprise accepted."""

    instruction_id: Annotated[
        UUID, Meta(description="指令编号，同一编号最多放款一次 / at most one disbursement for each")
    ]
    decision_id: Annotated[UUID, Meta(description="决策编号 / the decision")]
    entity: Annotated[str, Meta(description="企业标识 / the enterprise's key")]
    product: Annotated[str, Meta(description="产品 / product")]
    amount: Annotated[Decimal, Meta(description="放款金额（元） / amount to pay, in yuan")]
    annual_rate: Annotated[Decimal, Meta(description="年利率 / annual rate")]
    term_months: Annotated[int, Meta(description="期限（月） / term in months")]


class Acceptance(_ToBank, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="acceptance"):
    """企业接受银行的方案 / the enterprise accepted the bank's offer."""

    amount: Annotated[Decimal, Meta(description="额度（元） / the limit offered, in yuan")]
    annual_rate: Annotated[Decimal, Meta(description="年利率 / annual rate")]
    term_months: Annotated[int, Meta(description="期限（月） / term in months")]


class Withdrawal(_ToBank, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="withdrawal"):
    """企业撤回申请 / the enterprise withdrew what the bank has already."""


ToBank = ApplicationPackage | DisbursementInstruction | Acceptance | Withdrawal


class _FromBank(_Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    message_id: Annotated[
        Word, Meta(description="银行的报文编号，重发不变 / the bank's number of it, the same when resent")
    ]
    application_id: Annotated[UUID, Meta(description="申请编号 / the application")]


_LoanId = Annotated[Word, Meta(description="银行的贷款编号 / the bank's number of the loan")]
_ReasonCode = Annotated[Word, Meta(description="原因代码 / why, as a stable word")]
_ReasonText = Annotated[Note, Meta(description="原因说明 / why, for a person")]


class Accepted(_FromBank, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="accepted"):
    """银行已受理 / the bank is at it; nothing else follows from it."""


class Declined(_FromBank, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="declined"):
    """银行拒绝 / the bank declines (the bank decides)."""

    reason_code: _ReasonCode
    reason: _ReasonText = ""


class Offered(_FromBank, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="offered"):
    """银行出具方案 / the bank offers (the bank decides)."""

    limit: Annotated[Decimal, Meta(description="额度（元） / limit in yuan")]
    annual_rate: Annotated[Decimal, Meta(description="年利率 / annual rate")]
    term_months: Annotated[Months, Meta(description="期限（月） / term in months")]


class Disbursed(_FromBank, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="disbursed"):
    """已放款 / the bank has paid."""

    loan_id: _LoanId
    amount: Annotated[Decimal, Meta(description="放款金额（元） / amount paid, in yuan")]
    annual_rate: Annotated[Decimal, Meta(description="年利率 / annual rate")]
    term_months: Annotated[Months, Meta(description="期限（月） / term in months")]
    disbursed_on: Annotated[date, Meta(description="放款日期 / day of payment")]


class DisbursementRefused(_FromBank, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="disbursement_refused"):
    """拒绝放款 / the bank does not pay."""

    reason_code: _ReasonCode
    reason: _ReasonText = ""


class Repayment(_FromBank, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="repayment"):
    """一期还款的状态 / how an instalment stands."""

    loan_id: _LoanId
    instalment_no: Annotated[Annotated[int, Meta(ge=1, le=120)], Meta(description="期数 / number of the instalment")]
    due_on: Annotated[date, Meta(description="应还日期 / day due")]
    due_amount: Annotated[Decimal, Meta(description="应还金额（元） / amount due")]
    paid_on: Annotated[date | None, Meta(description="实还日期，未还为空 / day paid; null while unpaid")] = None
    paid_amount: Annotated[Decimal, Meta(description="实还金额（元） / amount paid so far")]
    days_past_due: Annotated[Annotated[int, Meta(ge=0, le=3650)], Meta(description="逾期天数 / days past due")]
    five_level_class: Annotated[
        Literal["normal", "special_mention", "substandard", "doubtful", "loss"],
        Meta(description="五级分类 / five-level class"),
    ]
    as_of: Annotated[date, Meta(description="状态日期 / day of this state")]


class Closed(_FromBank, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="closed"):
    """贷款终结 / the loan has ended."""

    loan_id: _LoanId
    outcome: Annotated[Literal["settled", "written_off"], Meta(description="结清或核销 / how it ended")]
    closed_on: Annotated[date, Meta(description="终结日期 / day of its end")]


FromBank = Accepted | Declined | Offered | Disbursed | DisbursementRefused | Repayment | Closed


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """回执 / a receipt: the message is kept. ``duplicate``: it was known already, and nothing was done again."""

    message_id: Annotated[str, Meta(description="所收报文编号 / number of the message received")]
    received_at: Annotated[Moment, Meta(description="接收时间 / when it was received")]
    duplicate: Annotated[bool, Meta(description="此前已收到 / known since before")]
