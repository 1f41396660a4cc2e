"""Why figures of two groups may not be set beside each other, or only with care."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.compare.groups import Group
from harness.results.summary import Summary
from harness.units import format_latency_ms
from harness.untrusted import clean_text

FLOOR_RATIO = 1.5
FLOOR_LEAST_NS = 50_000
"""Path floors this far apart are not the same path."""


@dataclass(frozen=True)
class Remark:
    """``forbids``: no verdict is given, since the runs were asked for different things."""

    text: str
    forbids: bool


def remarks(baseline: Group, candidate: Group) -> list[Remark]:
    """Of both groups together; empty if nothing stands against the comparison."""
    return [
        *_invalid(baseline),
        *_invalid(candidate),
        *(
            remark
            for name, read, forbids in FACTS
            for remark in _differs(name, read, forbids, baseline, candidate)
        ),
        *_path_floors(baseline, candidate),
    ]


def _plan(summary: Summary) -> str:
    plan = summary.plan
    if plan.hash is not None:
        return plan.hash[:8]
    return f"{plan.dist} {plan.concurrency} for {plan.duration_s:g} s"


def _model(summary: Summary) -> str:
    config = summary.config
    return f"{config.get('model')} {config.get('model_version') or ''}".strip()


def _slo(summary: Summary) -> str:
    slo = summary.slo
    return "none" if slo is None else f"{slo.text} {100 * slo.limit:.4g} %"


def _request(summary: Summary) -> str:
    config = summary.config
    return f"batch {config.get('batch')}, shapes {config.get('shapes') or 'as declared'}"


def _of_servers(key: str) -> Callable[[Summary], str]:
    def read(summary: Summary) -> str:
        return ", ".join(dict.fromkeys(str(one.get(key) or "?") for one in summary.servers))

    return read


def _of_devices(key: str) -> Callable[[Summary], str]:
    def read(summary: Summary) -> str:
        values: list[Any] = []
        for server in summary.servers:
            devices = server.get("devices")
            for device in devices if isinstance(devices, list) else ():
                if isinstance(device, dict):
                    values.append(device.get(key))
        return ", ".join(dict.fromkeys(str(value) for value in values if value is not None))

    return read


FACTS: tuple[tuple[str, Callable[[Summary], str], bool], ...] = (
    ("plan", _plan, True),
    ("model", _model, True),
    ("request", _request, True),
    ("SLO", _slo, True),
    ("model configuration", _of_servers("config_sha256"), False),
    ("client CPU", lambda summary: str(summary.host.get("cpu_model")), False),
    ("workers", lambda summary: str(len(summary.workers)), False),
    ("connections", lambda summary: str(summary.client.connections), False),
    ("transport", lambda summary: str(summary.config.get("transport")), False),
    ("clock limit (MHz)", _of_devices("sm_clock_limit_mhz"), False),
    ("power cap (W)", _of_devices("power_cap_w"), False),
)


def _invalid(group: Group) -> Iterator[Remark]:
    bad = [run for run in group.runs if not run.summary.valid]
    if bad:
        codes = sorted({reason.code for run in bad for reason in run.summary.invalid_reasons})
        why = clean_text(", ".join(codes), 60)
        yield Remark(
            f"{len(bad)} of {len(group.runs)} runs of {group.name} are INVALID ({why})", True
        )


def _differs(
    name: str,
    read: Callable[[Summary], str],
    forbids: bool,
    baseline: Group,
    candidate: Group,
) -> Iterator[Remark]:
    theirs, ours = _values(read, baseline.runs), _values(read, candidate.runs)
    if theirs != ours or len(theirs) > 1:
        text = f"{name}: {_shown(theirs)} in {baseline.name}, {_shown(ours)} in {candidate.name}"
        yield Remark(text, forbids)


def _values(read: Callable[[Summary], str], runs: Sequence[Any]) -> list[str]:
    return sorted({clean_text(read(run.summary), 40) for run in runs})


def _shown(values: Sequence[str]) -> str:
    return " | ".join(value or "unknown" for value in values[:3]) + " | ..." * (len(values) > 3)


def _path_floors(baseline: Group, candidate: Group) -> Iterator[Remark]:
    theirs, ours = _median_floor_ns(baseline), _median_floor_ns(candidate)
    if theirs is None or ours is None:
        return
    low, high = sorted((theirs, ours))
    if high > FLOOR_RATIO * low and high - low > FLOOR_LEAST_NS:
        yield Remark(
            f"path floor: {format_latency_ms(theirs)} ms in {baseline.name},"
            f" {format_latency_ms(ours)} ms in {candidate.name}: a part of any difference",
            False,
        )


def _median_floor_ns(group: Group) -> int | None:
    floors = sorted(
        run.summary.client.path_floor_ns
        for run in group.runs
        if run.summary.client.path_floor_ns is not None
    )
    return floors[len(floors) // 2] if floors else None
