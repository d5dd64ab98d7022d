"""A bank's trace goes through the endpoint to a real collector, stage by stage, with nothing of the enterprise on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.app import Service
from tests.support.endpoint import GOOD_ONE, NOBODY, ask, client_of, filled_store, make_bundle, workspace_in
from tests.support.servers import running

pytestmark = pytest.mark.server
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes spans as OpenTelemetry's protocol sends them."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def app(self) -> Starlette:
        """The application to run."""
        return Starlette(routes=[Route("/v1/traces", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        self.received.append(await request.body())
        return Response(b"", media_type="application/x-protobuf")

    def spans(self) -> list[dict[str, str]]:
        """Every span by name, with its trace, parent and attributes."""
        found = []
        for data in self.received:
            for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        attributes = {item.key: str(item.value) for item in span.attributes}
                        found.append(
                            {
                                "name": span.name,
                                "trace": span.trace_id.hex(),
                                "id": span.span_id.hex(),
                                "parent": span.parent_span_id.hex(),
                                **attributes,
                            }
                        )
        return found


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    made = Collector()
    with running(made.app()) as address:
        yield made, address


def test_a_banks_trace_goes_on_through_the_stages_of_the_decision(
    collector: tuple[Collector, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, address = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    with filled_store() as store:
        workspace = workspace_in(tmp_path / "home", f"redis://127.0.0.1:{store.port}/0")
        make_bundle(workspace.paths.bundles)
        service = Service(workspace, bundle=workspace.paths.bundles / "v1")
        with running(service.app()) as endpoint, client_of(workspace, endpoint) as api:
            api.headers["traceparent"] = f"00-{TRACE}-{PARENT}-01"
            decided = ask(api)
            assert decided.status_code == 200
            assert ask(api, NOBODY).status_code == 404
    decision = decided.json()
    spans = made.spans()
    requests = [span for span in spans if span["name"] == "POST /v1/decisions"]
    assert [(span["trace"], span["parent"]) for span in requests] == [(TRACE, PARENT)] * 2
    (request,) = [span for span in requests if "200" in span["http.response.status_code"]]
    assert decision["decision_id"] in request["credit301.decision_id"]
    assert decision["outcome"] in request["credit301.outcome"]
    stages = [span for span in spans if span["parent"] == request["id"]]
    assert [span["name"] for span in stages] == ["features", "scoring", "policy", "reasons", "evidence"]
    everything = b"".join(made.received)
    assert GOOD_ONE.encode() not in everything
    assert NOBODY.encode() not in everything
