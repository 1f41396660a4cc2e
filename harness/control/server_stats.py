"""A server's own statistics of a model, before and after a run."""

import threading
from dataclasses import dataclass
from typing import Any

from harness.config import BenchConfig
from harness.control.address import parse_address
from harness.control.client import CallError, ControlClient
from harness.errors import NotStartedError
from harness.untrusted import clean_text


@dataclass(frozen=True)
class ModelCounts:
    """Counters since the server loaded the model, summed over the versions looked at.

    ``success_count`` are executed requests (answers from a response cache among them),
    ``inference_count`` the elements of their batches, ``execution_count`` the batches the model
    ran. Each ``*_ns`` is a sum over the requests its ``*_count`` counts.
    """

    success_count: int = 0
    success_ns: int = 0
    fail_count: int = 0
    inference_count: int = 0
    execution_count: int = 0
    queue_count: int = 0
    queue_ns: int = 0
    compute_input_count: int = 0
    compute_input_ns: int = 0
    compute_infer_count: int = 0
    compute_infer_ns: int = 0
    compute_output_count: int = 0
    compute_output_ns: int = 0
    cache_hit_count: int = 0
    cache_miss_count: int = 0


@dataclass(frozen=True)
class Snapshot:
    """Counts at one moment; None with the reason if the server gives none."""

    counts: ModelCounts | None
    reason: str | None = None


@dataclass(frozen=True)
class StatsDelta:
    """What the server did between two snapshots. A mean over nothing is None."""

    executed: int
    failed: int
    inference_count: int
    execution_count: int
    cache_hit_count: int
    cache_miss_count: int
    request_mean_ns: float | None
    queue_mean_ns: float | None
    compute_input_mean_ns: float | None
    compute_infer_mean_ns: float | None
    compute_output_mean_ns: float | None
    mean_batch: float | None


@dataclass(frozen=True)
class StatsOutcome:
    """The difference of two snapshots; None with the reason if there is none."""

    delta: StatsDelta | None
    reason: str | None = None


def take(client: ControlClient, model: str, version: str = "") -> Snapshot:
    """A snapshot from a server. Never raises: statistics must not cost anyone a run."""
    try:
        return counts_of(client.statistics(model, version), model, version)
    except CallError as error:
        if error.code == "UNIMPLEMENTED":
            return Snapshot(None, "the server has no statistics extension")
        return Snapshot(None, str(error))
    except NotStartedError as error:
        return Snapshot(None, str(error))


def take_all(config: BenchConfig, deadline_s: float) -> list[Snapshot]:
    """The counts of every server of ``config.urls``, all asked at once; never raises."""
    snapshots = [Snapshot(None, "not asked")] * len(config.urls)

    def ask(index: int, url: str) -> None:
        client = ControlClient(parse_address(url), config.headers, deadline_s)
        try:
            snapshots[index] = take(client, config.model, config.model_version)
        finally:
            client.close()

    threads = [
        threading.Thread(target=ask, args=one, daemon=True) for one in enumerate(config.urls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return snapshots


def counts_of(response: Any, model: str, version: str = "") -> Snapshot:
    """The counts of a ModelStatisticsResponse, of one version or (empty) of all together."""
    sums = dict.fromkeys(ModelCounts.__dataclass_fields__, 0)
    found = False
    for entry in response.model_stats:
        if entry.name != model or version not in ("", entry.version):
            continue
        found = True
        sums["inference_count"] += entry.inference_count
        sums["execution_count"] += entry.execution_count
        stats = entry.inference_stats
        sums["fail_count"] += stats.fail.count
        for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
            sums[f"{part}_count"] += getattr(stats, part).count
            sums[f"{part}_ns"] += getattr(stats, part).ns
        sums["cache_hit_count"] += stats.cache_hit.count
        sums["cache_miss_count"] += stats.cache_miss.count
    if not found:
        return Snapshot(None, f"the server has no statistics of model '{clean_text(model, 60)}'")
    return Snapshot(ModelCounts(**sums))


def delta(before: Snapshot, after: Snapshot) -> StatsOutcome:
    """What happened between two snapshots, or the reason why that is not known."""
    if before.counts is None or after.counts is None:
        return StatsOutcome(None, before.reason or after.reason)
    old, new = vars(before.counts), vars(after.counts)
    grown = {name: new[name] - old[name] for name in new}
    backwards = sorted(name for name, value in grown.items() if value < 0)
    if backwards:
        return StatsOutcome(
            None, f"{backwards[0]} went backwards: the server or the model was started anew"
        )

    def mean(part: str) -> float | None:
        count = grown[f"{part}_count"]
        return grown[f"{part}_ns"] / count if count else None

    executions = grown["execution_count"]
    return StatsOutcome(
        StatsDelta(
            executed=grown["success_count"],
            failed=grown["fail_count"],
            inference_count=grown["inference_count"],
            execution_count=executions,
            cache_hit_count=grown["cache_hit_count"],
            cache_miss_count=grown["cache_miss_count"],
            request_mean_ns=mean("success"),
            queue_mean_ns=mean("queue"),
            compute_input_mean_ns=mean("compute_input"),
            compute_infer_mean_ns=mean("compute_infer"),
            compute_output_mean_ns=mean("compute_output"),
            mean_batch=grown["inference_count"] / executions if executions else None,
        )
    )
