"""The result as text of 80 columns for a terminal, and as markdown."""

import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from benchmarks.suite.cases import (
    closed_loop,
    constant_rate,
    highest_rate,
    large_requests,
    long_run,
    overload,
    start_up,
)
from benchmarks.suite.claims import Judged, judge, ratio
from benchmarks.suite.figures import COMPARED, LABELS, number, ratio_text, span
from benchmarks.suite.result import Control, SuiteResult

WIDTH = 80
OURS = "harness"

CASES: tuple[ModuleType, ...] = (
    closed_loop,
    constant_rate,
    highest_rate,
    large_requests,
    start_up,
    overload,
    long_run,
)
"""In the order they are run: the longest is the last, so that a limit cuts it alone."""


@dataclass(frozen=True)
class Row:
    """One figure of one tool in one setting; ``ratio`` is the harness's median over this one."""

    setting: str
    figure: str
    tool: str
    median: float
    low: float
    high: float
    runs: int
    ratio: float | None


def rows(result: SuiteResult, case: str) -> list[Row]:
    """By setting, then by figure, then by tool, each in the order it came up."""
    of_case = [run for run in result.runs if run.case == case]
    found = []
    for setting in dict.fromkeys(run.setting for run in of_case):
        tools = dict.fromkeys(run.tool for run in of_case if run.setting == setting)
        for figure, label in LABELS.items():
            ours = result.median(case, setting, OURS, figure)
            for tool in tools:
                peer = not tool.startswith(OURS)
                values = result.values(case, setting, tool, figure)
                median = result.median(case, setting, tool, figure)
                if median is not None:
                    found.append(
                        Row(
                            *(setting, label, tool, median, min(values), max(values)),
                            runs=len(values),
                            ratio=ratio(ours, median) if peer and figure in COMPARED else None,
                        )
                    )
    return found


def troubles(result: SuiteResult, case: str) -> list[str]:
    """Runs without figures: how many of one kind, and why the first of them."""
    of_case = [run for run in result.runs if run.case == case]
    kinds = Counter((run.setting, run.tool) for run in of_case)
    lines = []
    for setting, tool in kinds:
        bad = [run for run in result.of(case, setting, tool) if run.trouble]
        if bad:
            lines.append(
                f"{setting}, {tool}: {len(bad)} of {kinds[setting, tool]} runs: {bad[0].trouble}"
            )
    return lines


def head(result: SuiteResult) -> list[str]:
    """What was run, where, with what."""
    host = result.host
    plan = "quick" if result.quick else "full"
    end = "" if result.finished else ", not finished"
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    lines = [
        f"{plan} run of {result.started_utc}, {result.runs_asked} runs a tool,"
        f" {result.took_s / 60:.1f} minutes{end}",
        f"machine: {host.get('cpu_model') or 'unknown CPU'}, CPUs"
        f" {host.get('cpus_allowed')}, server on {result.cpus['server']}, client on"
        f" {result.cpus['client']}; kernel {host.get('kernel')}, clock {host.get('clock_source')},"
        f" governor {host.get('governor') or 'unknown'},"
        f" CPU quota {host.get('cpu_quota') or 'none'}",
        f"versions: {versions}",
    ]
    lines += [f"missing: {name}: {why}" for name, why in result.missing.items()]
    return lines + [f"left out: {what}" for what in result.left_out]


def control_line(controls: list[Control]) -> str:
    """The gaps of one case in a line."""
    parts = [
        f"{one.when}: {one.over_100us} over 100 us, {one.over_1ms} over 1 ms, longest"
        f" {one.max_us:.0f} us in {one.seconds:g} s"
        for one in controls
    ]
    return "spin loop's gaps " + "; ".join(parts)


def text(result: SuiteResult) -> str:
    """For a terminal, at most 80 columns."""
    return "\n".join(_text_lines(result))


def _text_lines(result: SuiteResult) -> Iterator[str]:
    for line in head(result):
        yield from _wrapped(line)
    for case in CASES:
        found, wrong = rows(result, case.CASE), troubles(result, case.CASE)
        if not (found or wrong):
            continue
        yield ""
        yield f"{case.CASE}  {case.TITLE}"
        yield f"{'':47}{'median':>8} {'min .. max':>17}  ratio"
        for setting in dict.fromkeys(row.setting for row in found):
            yield f" {setting}"
            label = ""
            for row in (one for one in found if one.setting == setting):
                shown = row.figure if row.figure != label else ""
                label = row.figure
                yield (
                    f"  {shown:28}{row.tool:17}{number(row.median):>8}"
                    f" {span(row.low, row.high):>17} {ratio_text(row.ratio):>6}"
                ).rstrip()
        for line in wrong:
            yield from _wrapped(f"! {line}")
        controls = [one for one in result.controls if one.case == case.CASE]
        if controls:
            yield from _wrapped(control_line(controls))
    yield ""
    yield f"{'it must show':51}{'bound':>10}{'found':>9}"
    for one in judge(result):
        yield f" {one.claim.text:50}{bound(one):>10}{number(one.found):>9} {one.verdict}"


def bound(one: Judged) -> str:
    """With the direction."""
    return f"{'>=' if one.claim.least else '<='} {one.claim.bound:g}"


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def markdown(result: SuiteResult) -> str:
    """For docs/performance.md."""
    return "\n".join(_markdown_lines(result))


def _markdown_lines(result: SuiteResult) -> Iterator[str]:
    for line in head(result):
        yield f"- {_cell(line)}"
    yield ""
    yield "| it must show | bound | found | held |"
    yield "|---|---|---|---|"
    for one in judge(result):
        yield f"| {one.claim.text} | {bound(one)} | {number(one.found)} | {one.verdict} |"
    for case in CASES:
        found, wrong = rows(result, case.CASE), troubles(result, case.CASE)
        if not (found or wrong):
            continue
        yield ""
        yield f"### {case.CASE}: {case.TITLE}"
        if found:
            yield ""
            yield "| setting | figure | tool | median | min .. max | runs | harness / tool |"
            yield "|---|---|---|---|---|---|---|"
        for row in found:
            yield (
                f"| {_cell(row.setting)} | {row.figure} | {row.tool} | {number(row.median)} |"
                f" {span(row.low, row.high)} | {row.runs} | {ratio_text(row.ratio)} |"
            )
        yield ""
        for line in wrong:
            yield f"- {_cell(line)}"
        controls = [one for one in result.controls if one.case == case.CASE]
        if controls:
            yield f"- {control_line(controls)}"


def _cell(line: str) -> str:
    return line.replace("|", "\\|")
