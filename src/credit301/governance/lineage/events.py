"""OpenLineage events of what runs, derived from the lineage graph.

Where they go is OpenLineage's own configuration (``OPENLINEAGE_URL``, ``OPENLINEAGE_CONFIG``, ``openlineage.yml``,
``OPENLINEAGE__TRANSPORT__...``, ``OPENLINEAGE_DISABLED``); without any, each job has a file of JSON lines below
``state/openlineage``. An event that cannot be delivered is said, and stops nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openlineage.client import OpenLineageClient, set_producer
from openlineage.client.event_v2 import InputDataset, Job, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    error_message_run,
    job_type_job,
    output_statistics_output_dataset,
    ownership_job,
    parent_run,
)
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.noop import NoopConfig, NoopTransport
from openlineage.client.uuid import generate_new_uuid

from credit301 import __name__ as producer
from credit301 import console
from credit301.governance.lineage.datasets import Table, inputs_of, namespace, outputs_of
from credit301.governance.lineage.from_contracts import contract_lineage
from credit301.governance.lineage.from_manifest import MODELLED, layer_of, manifest_lineage, read_manifest
from credit301.governance.lineage.graph import Lineage
from credit301.workspace import Workspace

PRODUCER = f"urn:{producer}"
OWNER = "data_platform"
FAILED = {"error", "fail", "runtime error", "skipped"}


@dataclass
class Recorded:
    """A run that is being recorded; set ``rows`` to say how many were written."""

    run_id: str
    job: str
    rows: int | None = None
    facets: dict[str, Any] = field(default_factory=dict)


@contextmanager
def recorded(
    workspace: Workspace, job: str, tables: Sequence[Table], lineage: Lineage | None = None
) -> Iterator[Recorded]:
    """Say that ``job`` starts to write ``tables``, and how it ended: COMPLETE, or FAIL with the error.

    ``lineage`` defaults to what the contracts tell; inputs and column lineage are taken from it.
    """
    run = Recorded(str(generate_new_uuid()), job)
    graph = lineage or contract_lineage(workspace)
    emitter = _Emitter(workspace, job)
    emitter.emit(RunState.START, run, graph, tables)
    try:
        yield run
    except BaseException as error:
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        run.facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "PYTHON")
        emitter.emit(RunState.FAIL, run, graph, tables)
        raise
    emitter.emit(RunState.COMPLETE, run, graph, tables)


def emit_models(workspace: Workspace, parent: Recorded) -> Lineage | None:
    """START and COMPLETE (or FAIL) of every dbt model of the build that just ended, at the times that dbt measured.

    Returns:
        The graph of that build; ``None`` where dbt ended before it ran anything.
    """
    path = workspace.paths.dbt / "target" / "run_results.json"
    if not path.is_file():
        return None
    manifest = read_manifest(workspace)
    graph = manifest_lineage(workspace, manifest)
    emitter = _Emitter(workspace, parent.job)
    for result in json.loads(path.read_text(encoding="utf-8"))["results"]:
        model = manifest["nodes"].get(result["unique_id"])
        if model is None or model["resource_type"] not in MODELLED or not result["timing"]:
            continue
        run = Recorded(str(generate_new_uuid()), f"{parent.job}.{model['name']}")
        run.facets["parent"] = parent_run.ParentRunFacet(
            parent_run.Run(parent.run_id), parent_run.Job(namespace(workspace), parent.job)
        )
        failed = result["status"] in FAILED
        if failed:
            message = str(result["message"] or result["status"]).splitlines()[0]
            run.facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "SQL")
        tables = [(layer_of(model), str(model["alias"] or model["name"]))]
        end = RunState.FAIL if failed else RunState.COMPLETE
        emitter.emit(RunState.START, run, graph, tables, result["timing"][0]["started_at"])
        emitter.emit(end, run, graph, tables, result["timing"][-1]["completed_at"])
    return graph


class _Emitter:
    def __init__(self, workspace: Workspace, job: str) -> None:
        self.workspace = workspace
        self.client = _client(workspace.paths.state / "openlineage" / f"{job}.jsonl")

    def emit(
        self, state: RunState, run: Recorded, lineage: Lineage, tables: Sequence[Table], at: str | None = None
    ) -> None:
        outputs = outputs_of(self.workspace, lineage, tables)
        if run.rows is not None and state is RunState.COMPLETE:
            statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=run.rows)
            for output in outputs:
                output.outputFacets = {"outputStatistics": statistics}
        self._send(
            RunEvent(
                eventType=state,
                eventTime=at or datetime.now(UTC).isoformat(),
                run=Run(run.run_id, facets=dict(run.facets)),
                job=_job(self.workspace, run.job),
                inputs=_unique(inputs_of(self.workspace, lineage, tables)),
                outputs=outputs,
                producer=PRODUCER,
            )
        )

    def _send(self, event: RunEvent) -> None:
        try:
            self.client.emit(event)
        # Each transport has errors of its own; a lineage server that is down must not stop the data.
        except Exception as error:  # noqa: BLE001
            console.say(f"OpenLineage: event not delivered: {type(error).__name__}: {error}")


def _job(workspace: Workspace, name: str) -> Job:
    kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="CREDIT301", jobType="VERB")
    owners = ownership_job.OwnershipJobFacet(owners=[ownership_job.Owner(name=OWNER, type="MAINTAINER")])
    return Job(namespace(workspace), name, facets={"jobType": kind, "ownership": owners})


def _unique(inputs: Sequence[InputDataset]) -> list[InputDataset]:
    return list({dataset.name: dataset for dataset in inputs}.values())


def _client(file: Path) -> OpenLineageClient:
    set_producer(PRODUCER)
    # Asked without a transport the library prints events to the console where nothing is configured.
    configured = OpenLineageClient(transport=NoopTransport(NoopConfig())).config.transport
    if configured:
        return OpenLineageClient()
    file.parent.mkdir(parents=True, exist_ok=True)
    return OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=str(file), append=True)))
