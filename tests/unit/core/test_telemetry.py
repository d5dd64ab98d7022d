"""Traces: nothing unless asked for; then a caller's trace is continued, with stages, and nothing of a person on it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from credit301.telemetry import Stage, Tracing, trace_id

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    return Tracing("a test", exporter)


def spans(tracing: Tracing, exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    tracing.close()
    return {span.name: span for span in exporter.get_finished_spans()}


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_spans_are_made_where_somebody_says_where_to_send_them(
    variables: dict[str, str], asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = Tracing.from_environment("a test")
    assert (found is not None) == asked


def test_nothing_of_the_library_is_loaded_until_then() -> None:
    code = (
        "import sys, credit301.telemetry as t; t.Tracing.from_environment('x'); print('opentelemetry' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={})
    assert said.stdout.strip() == "False"


def test_a_callers_trace_is_continued_and_its_parts_are_said(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with tracing.serving("POST /v1/decisions", {"traceparent": PARENT}, {"credit301.client": "demo"}) as traced:
        traced.status = 200
        tracing.stages(
            [Stage("features", 1_000, 3_000), Stage("scoring", 3_000, 4_000)], {"credit301.outcome": "approve"}
        )
    found = spans(tracing, exporter)
    request = found["POST /v1/decisions"]
    assert request.context.trace_id == TRACE
    assert request.parent is not None
    assert (request.kind, request.status.status_code) == (SpanKind.SERVER, StatusCode.UNSET)
    assert dict(request.attributes or {}) == {
        "credit301.client": "demo", "credit301.outcome": "approve", "http.response.status_code": 200,
    }  # fmt: skip
    assert [(name, found[name].start_time, found[name].end_time) for name in ("features", "scoring")] == [
        ("features", 1_000, 3_000),
        ("scoring", 3_000, 4_000),
    ]
    assert {found[name].parent.span_id for name in ("features", "scoring")} == {request.context.span_id}  # type: ignore[union-attr]


def test_a_failure_is_an_error_and_a_refusal_is_none(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    for name, status in (("failed", 503), ("refused", 422)):
        with tracing.serving(name, {}, {}) as traced:
            traced.status = status
    found = spans(tracing, exporter)
    assert found["failed"].status.status_code is StatusCode.ERROR
    assert found["refused"].status.status_code is StatusCode.UNSET


def test_who_is_called_is_told_the_trace(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    headers: dict[str, str] = {}
    with tracing.serving("in", {"traceparent": PARENT}, {}), tracing.calling("out", {}, headers) as traced:
        traced.status = 202
    assert headers["traceparent"].split("-")[1] == f"{TRACE:032x}"
    called = spans(tracing, exporter)["out"]
    assert called.kind is SpanKind.CLIENT
    assert headers["traceparent"].split("-")[2] == f"{called.context.span_id:016x}"


def test_logs_name_the_trace_they_belong_to(tracing: Tracing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    assert trace_id() == ""
    with tracing.serving("in", {"traceparent": PARENT}, {}):
        assert trace_id() == f"{TRACE:032x}"
    tracing.close()
