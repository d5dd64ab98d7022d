"""Traces by OpenTelemetry, for whoever sets its standard variables; without them nothing is loaded and nothing costs.

``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``..._TRACES_ENDPOINT``) says where spans are sent, ``OTEL_TRACES_SAMPLER`` and its
argument how many, ``OTEL_SERVICE_NAME`` by which name, ``OTEL_SDK_DISABLED=true`` that none are. A trace that a caller
began is continued (W3C Trace Context). Spans are sent behind what is traced, from a bounded queue; nothing of a person
or an enterprise is on them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanKind

Attributes: TypeAlias = Mapping[str, str | int | float | bool]
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SERVER_ERROR = 500


class Stage(NamedTuple):
    """A part of what a span is about, in nanoseconds since 1970."""

    name: str
    began: int
    ended: int


class Traced:
    """What is traced at the moment; what becomes of it is told to it."""

    def __init__(self) -> None:
        self.status = 0
        self.attributes: dict[str, str | int | float | bool] = {}


class Tracing:
    """Makes the spans of one process.

    Args:
        service: its name, unless ``OTEL_SERVICE_NAME`` says another.
        exporter: where spans go to; the one of the environment's endpoint by default.
    """

    def __init__(self, service: str, exporter: SpanExporter | None = None) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        name = os.environ.get("OTEL_SERVICE_NAME", service)
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("credit301")
        self._context = TraceContextTextMapPropagator()

    @classmethod
    def from_environment(cls, service: str) -> Tracing | None:
        """Tracing as the environment asks for it; ``None`` where it asks for none."""
        off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        return None if off or not any(map(os.environ.get, _ENDPOINTS)) else cls(service)

    @contextmanager
    def serving(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> Iterator[Traced]:
        """The span of a request that is answered within the block, a child of the one that ``headers`` name."""
        from opentelemetry.trace import SpanKind

        with self._span(name, SpanKind.SERVER, attributes, self._context.extract(headers)) as traced:
            yield traced

    @contextmanager
    def calling(self, name: str, attributes: Attributes, headers: dict[str, str]) -> Iterator[Traced]:
        """The span of a request to somebody else, whose ``headers`` are given the trace."""
        from opentelemetry.trace import SpanKind

        with self._span(name, SpanKind.CLIENT, attributes) as traced:
            self._context.inject(headers)
            yield traced

    @contextmanager
    def _span(
        self, name: str, kind: SpanKind, attributes: Attributes, context: Context | None = None
    ) -> Iterator[Traced]:
        from opentelemetry.trace import Status, StatusCode

        traced = Traced()
        with self._tracer.start_as_current_span(name, context, kind=kind, attributes=dict(attributes)) as span:
            yield traced
            span.set_attributes(traced.attributes)
            if traced.status:
                span.set_attribute("http.response.status_code", traced.status)
            if traced.status >= _SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR))

    def stages(self, stages: Sequence[Stage], attributes: Attributes) -> None:
        """Say what the current span was made of, after it happened; ``attributes`` are the current span's own."""
        from opentelemetry.trace import get_current_span

        current = get_current_span()
        if not current.is_recording():
            return
        current.set_attributes(dict(attributes))
        for stage in stages:
            self._tracer.start_span(stage.name, start_time=stage.began).end(end_time=stage.ended)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def trace_id() -> str:
    """Number of the current trace, as logs name it; empty where nothing is traced."""
    if not any(map(os.environ.get, _ENDPOINTS)):
        return ""
    from opentelemetry.trace import get_current_span

    found = get_current_span().get_span_context().trace_id
    return f"{found:032x}" if found else ""
