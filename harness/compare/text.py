"""A comparison in words: for a terminal (80 columns), as Markdown, as JSON."""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

from harness.compare.comparison import LEAST_RUNS, Beside, Cell, Comparison, Difference
from harness.compare.metrics import Metric
from harness.results.lines import wrapped
from harness.units import format_count, format_latency_ms
from harness.untrusted import clean_text

NAME_CHARS = 17
VALUE_CHARS = 14
MAX_NAME_CHARS = 40


def comparison_text(comparison: Comparison) -> str:
    """A table for each candidate beside the baseline."""
    lines: list[str] = []
    for place, group in enumerate(comparison.groups[1:]):
        if lines:
            lines.append("")
        lines += _one(comparison, place, group.name)
    return "\n".join(lines) + "\n"


def _one(comparison: Comparison, place: int, name: str) -> Iterator[str]:
    baseline, candidate = comparison.groups[0], comparison.groups[place + 1]
    yield from wrapped("baseline", _group_text(baseline.name, len(baseline.runs)))
    yield from wrapped("candidate", _group_text(name, len(candidate.runs)))
    for remark in comparison.remarks[place]:
        label = "NOT EQUAL" if remark.forbids else "differs"
        yield from wrapped(label, clean_text(remark.text, 400))
    yield (
        f"{'':<{NAME_CHARS}}{'baseline':>{VALUE_CHARS}}{'candidate':>{VALUE_CHARS}}"
        f"{'ratio':>8}  95 % interval"
    )
    for row in comparison.rows:
        one = row.beside[place]
        label = row.metric.label + " *" * row.primary
        yield (
            f"{label:<{NAME_CHARS}}{_cell(row.metric, row.cells[0]):>{VALUE_CHARS}}"
            f"{_cell(row.metric, row.cells[place + 1]):>{VALUE_CHARS}}{_ratio(one):>8}"
            f"  {_interval(one)}"
        ).rstrip()
    if comparison.paired is not None:
        yield from wrapped("paired", paired_text(comparison.paired))
    for row in comparison.rows:
        one = row.beside[place]
        if one.verdict is not None:
            yield from wrapped("verdict", f"{row.metric.label}: {str(one.verdict).upper()}")
    yield from _legend(comparison, place)


def _legend(comparison: Comparison, place: int) -> Iterator[str]:
    text = (
        f"* judged: tolerance {100 * comparison.tolerance:g} %, {LEAST_RUNS} runs a side at least"
    )
    if any(row.beside[place].within_run and row.beside[place].interval for row in comparison.rows):
        text += "; w: interval within runs, which knows nothing of what differs between runs"
    yield from wrapped("", text, 0)


def _group_text(name: str, runs: int) -> str:
    return f"{clean_text(name, MAX_NAME_CHARS)}, {runs} run{'s' * (runs != 1)}"


def _cell(metric: Metric, cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return ">" * cell.censored + value_text(metric, cell.median)


def value_text(metric: Metric, value: float) -> str:
    """With its unit."""
    if metric.unit == "ns":
        return f"{format_latency_ms(round(value))} ms"
    if metric.unit == "%":
        return f"{100 * value:.3g} %"
    if metric.unit == "/s":
        return f"{value:.1f} /s"
    return f"{value:g} {metric.unit}".rstrip()


def _ratio(beside: Beside) -> str:
    return "-" if beside.ratio is None else f"{beside.ratio:.3f}"


def _interval(beside: Beside) -> str:
    if beside.interval is None:
        return ""
    low, high = beside.interval.low, beside.interval.high
    return f"{low:.3f} .. {high:.3f}" + " w" * beside.within_run


def paired_text(paired: Difference) -> str:
    """In words."""
    text = (
        f"slot by slot the candidate answered {_signed_ms(paired.mean_ns)} ms later on the mean,"
        f" over {format_count(paired.slots)} slots"
    )
    if paired.interval is not None:
        low, high = _signed_ms(paired.interval.low), _signed_ms(paired.interval.high)
        text += f" (95 % interval {low} .. {high})"
    return text


def _signed_ms(latency_ns: float) -> str:
    return "+" * (latency_ns > 0) + format_latency_ms(round(latency_ns))


def comparison_markdown(comparison: Comparison) -> str:
    """A table for a pull request or a page."""
    lines = []
    for place, group in enumerate(comparison.groups[1:]):
        baseline = comparison.groups[0]
        lines += [
            f"### {_markdown(group.name)} beside {_markdown(baseline.name)}",
            "",
            *(f"- {_markdown(remark.text)}" for remark in comparison.remarks[place]),
            "",
            "| | baseline | candidate | ratio | 95 % interval | verdict |",
            "|---|---:|---:|---:|---|---|",
        ]
        for row in comparison.rows:
            one = row.beside[place]
            cells = [
                row.metric.label,
                _cell(row.metric, row.cells[0]),
                _cell(row.metric, row.cells[place + 1]),
                _ratio(one),
                _interval(one),
                f"**{one.verdict}**" if one.verdict else "",
            ]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
        if comparison.paired is not None:
            lines += [f"Paired: {paired_text(comparison.paired)}.", ""]
        lines += [*_legend(comparison, place), ""]
    return "\n".join(lines)


def _markdown(text: str) -> str:
    """A name as text: none of its characters means anything."""
    return re.sub(r"([\\`*_{}\[\]()#+.!|~-])", r"\\\1", html.escape(clean_text(text), quote=False))


def comparison_json(comparison: Comparison) -> str:
    """Strict JSON; latencies in ns, shares and ratios as numbers."""
    names = [group.name for group in comparison.groups]
    content: dict[str, Any] = {
        "schema": 1,
        "tolerance": comparison.tolerance,
        "groups": [
            {"name": group.name, "runs": [str(run.path) for run in group.runs]}
            for group in comparison.groups
        ],
        "remarks": [
            {"group": name, "text": remark.text, "forbids": remark.forbids}
            for name, found in zip(names[1:], comparison.remarks, strict=True)
            for remark in found
        ],
        "metrics": [
            {
                "name": row.metric.name,
                "unit": "share" if row.metric.unit == "%" else row.metric.unit,
                "better": row.metric.better,
                "primary": row.primary,
                "groups": [_cell_json(cell) for cell in row.cells],
                "beside": [
                    {"group": name, **_beside_json(one)}
                    for name, one in zip(names[1:], row.beside, strict=True)
                ],
            }
            for row in comparison.rows
        ],
    }
    if comparison.paired is not None:
        interval = comparison.paired.interval
        content["paired"] = {
            "slots": comparison.paired.slots,
            "mean_ns": comparison.paired.mean_ns,
            "interval_ns": None if interval is None else [interval.low, interval.high],
        }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _cell_json(cell: Cell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    return {
        "median": cell.median,
        "low": cell.low,
        "high": cell.high,
        "runs": cell.runs,
        "censored": cell.censored,
    }


def _beside_json(beside: Beside) -> dict[str, Any]:
    interval = beside.interval
    source = "within run" if beside.within_run else "between runs"
    return {
        "ratio": beside.ratio,
        "interval": None if interval is None else [interval.low, interval.high],
        "interval_of": None if interval is None else source,
        "p_value": beside.p_value,
        "verdict": beside.verdict,
    }
