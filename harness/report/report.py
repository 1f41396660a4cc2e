"""``report.html`` of a results directory: one run, told to people."""

from pathlib import Path
from typing import Any

import harness
from harness.config import NS_PER_MS
from harness.report.distributions import distribution_charts
from harness.report.headline import headline
from harness.report.page import render, write_page
from harness.report.tables import (
    event_table,
    facts,
    latency_table,
    outage_table,
    server_name,
    server_table,
    slot_table,
    statistics_table,
    switch_tables,
    worker_table,
)
from harness.report.time_charts import RunCharts
from harness.results.stored import StoredRun
from harness.results.summary import Summary

NAME = "report.html"


def write_report(run: StoredRun) -> Path:
    """Write the report into the run's directory. Raises ResultsError, UsageError: damaged rows."""
    path = run.path / NAME
    write_page(path, report_page(run))
    return path


def report_page(run: StoredRun) -> bytes:
    """The report as HTML. Raises as ``write_report``."""
    summary, drawing = run.summary, RunCharts(run)
    charts = {**drawing.charts(), **distribution_charts(drawing)}
    return render(
        "report.html",
        charts,
        version=harness.__version__,
        head=headline(summary),
        started=summary.started_utc,
        labels=_labels(summary),
        missing=run.missing,
        servers=[server_name(index, run.urls[index]) for index in drawing.drawn],
        switches=switch_tables(run),
        outages=outage_table(summary),
        latency=latency_table(summary),
        slots=slot_table(summary),
        per_server=server_table(run),
        statistics=statistics_table(run),
        client=_client(summary),
        workers=worker_table(summary),
        setup=_setup(summary),
        events=event_table(run.events) if run.events else None,
    )


def _labels(summary: Summary) -> list[tuple[str, str]]:
    labels = summary.config.get("labels")
    if not isinstance(labels, dict):
        return []
    return [(str(key), str(text)) for key, text in list(labels.items())[:16]]


def _client(summary: Summary) -> str:
    client, count = summary.client, len(summary.workers)
    parts = [f"{count} worker{'s' * (count != 1)}"]
    if client.busy is not None:
        parts.append(f"{100 * client.busy:.0f} % busy" + " (spins)" * client.spin)
    parts.append(f"{client.connections} connection{'s' * (client.connections != 1)} each")
    if client.path_floor_ns is not None:
        parts.append(f"an empty call takes {client.path_floor_ns / NS_PER_MS:.2f} ms")
    state = (
        "The client limits these figures" if client.limiting else "It does not limit the figures"
    )
    return f"{', '.join(parts)}. {state}."


def _setup(summary: Summary) -> list[tuple[str, list[tuple[str, str]]]]:
    """What was asked for, and what it ran on."""
    sections: list[tuple[str, dict[str, Any]]] = [
        ("Plan", summary.plan.model_dump()),
        ("Configuration", summary.config),
        ("Limits", summary.limits.model_dump()),
        ("Detector", {} if summary.detector is None else summary.detector.model_dump()),
        ("Host", summary.host),
        ("Servers", {"servers": summary.servers}),
        ("Model", summary.signature),
        (
            "Run",
            {
                "run_id": summary.run_id,
                "started_utc": summary.started_utc,
                "interrupted_by": summary.interrupted_by,
                "command": " ".join(summary.argv),
                "harness_version": summary.harness_version,
            },
        ),
    ]
    return [(title, facts(content)) for title, content in sections if content]
