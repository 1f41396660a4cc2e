"""Groups, remarks and verdicts of runs made up to be alike or not."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.compare.comparison import Comparison, Verdict, compare
from harness.compare.groups import load_groups
from harness.compare.text import comparison_json, comparison_markdown, comparison_text
from harness.config import NS_PER_MS, NS_PER_S
from harness.errors import UsageError
from harness.records import Outcome
from tests.stored_runs import stored


def group(folder: Path, runs: int, label: str | None = None, **changes: Any) -> Path:
    """A folder of runs that differ by chance alone."""
    config = {**changes.pop("config", {}), **({"labels": {"gpu": label}} if label else {})}
    changes = {"rate": 300, "duration_ns": 2 * NS_PER_S, "config": config, **changes}
    first = changes.pop("draw", sum(map(ord, folder.name)))
    for number in range(runs):
        stored(folder / f"{number:02d}", draw=1000 * first + number, **changes)
    return folder


def verdicts(comparison: Comparison) -> dict[str, Verdict | None]:
    return {row.metric.name: row.beside[0].verdict for row in comparison.rows if row.primary}


def test_the_same_server_is_within_tolerance_or_not_distinguishable(tmp_path: Path) -> None:
    groups = load_groups([group(tmp_path / "a", 5, "A"), group(tmp_path / "b", 5, "B")])
    assert [one.name for one in groups] == ["gpu=A", "gpu=B"]
    found = verdicts(compare(groups))
    assert set(found) == {"p99", "in_slo"}
    assert set(found.values()) <= {Verdict.WITHIN, Verdict.UNDECIDED}


@pytest.mark.parametrize(
    ("ours_ms", "theirs_ms", "verdict"), [(12, 8, Verdict.WORSE), (8, 12, Verdict.BETTER)]
)
def test_another_latency_is_worse_or_better(
    tmp_path: Path, ours_ms: int, theirs_ms: int, verdict: Verdict
) -> None:
    baseline = group(tmp_path / "a", 5, median_ns=theirs_ms * NS_PER_MS)
    candidate = group(tmp_path / "b", 5, median_ns=ours_ms * NS_PER_MS)
    comparison = compare(load_groups([baseline, candidate]), primary=("p50",))
    assert verdicts(comparison) == {"p50": verdict}
    row = next(row for row in comparison.rows if row.metric.name == "p50")
    interval = row.beside[0].interval
    assert interval is not None
    assert interval.low <= ours_ms / theirs_ms <= interval.high


def test_four_runs_are_too_few(tmp_path: Path) -> None:
    groups = load_groups([group(tmp_path / "a", 5), group(tmp_path / "b", 4)])
    assert set(verdicts(compare(groups)).values()) == {Verdict.TOO_FEW}


def test_one_run_a_side_has_an_interval_of_its_blocks_that_says_so(tmp_path: Path) -> None:
    groups = load_groups(
        [
            group(tmp_path / "a", 1, duration_ns=8 * NS_PER_S),
            group(tmp_path / "b", 1, duration_ns=8 * NS_PER_S),
        ]
    )
    comparison = compare(groups)
    assert set(verdicts(comparison).values()) == {Verdict.TOO_FEW}
    within = {row.metric.name: row.beside[0] for row in comparison.rows}["p50"]
    assert within.within_run
    assert within.interval is not None
    assert "interval within runs" in " ".join(comparison_text(comparison).split())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 2}, "plan"),
        ({"config": {"model": "other"}}, "model"),
        ({"slo_ns": 60 * NS_PER_MS}, "SLO"),
        ({"config": {"batch": 2}}, "request"),
        ({"dead_workers": frozenset({1})}, "INVALID (worker_lost)"),
    ],
)
def test_what_was_asked_for_differently_is_not_comparable(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    groups = load_groups([group(tmp_path / "a", 5), group(tmp_path / "b", 5, **changes)])
    comparison = compare(groups)
    assert set(verdicts(comparison).values()) == {Verdict.NOT_COMPARABLE}
    assert any(words in remark.text for remark in comparison.remarks[0] if remark.forbids)


def test_what_merely_differs_is_said(tmp_path: Path) -> None:
    groups = load_groups([group(tmp_path / "a", 5), group(tmp_path / "b", 5, workers=1)])
    comparison = compare(groups)
    assert [remark.text for remark in comparison.remarks[0]] == ["workers: 2 in a, 1 in b"]
    assert Verdict.NOT_COMPARABLE not in verdicts(comparison).values()


def test_baseline_by_name(tmp_path: Path) -> None:
    paths = [group(tmp_path / "a", 2), group(tmp_path / "b", 2)]
    assert [one.name for one in load_groups(paths, "b")] == ["b", "a"]
    with pytest.raises(UsageError, match="the groups are 'a', 'b'"):
        load_groups(paths, "c")


def test_one_group_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="all runs are of one group"):
        load_groups([group(tmp_path / "a", 2)])


def test_the_device_groups_runs_without_labels(tmp_path: Path) -> None:
    for name, device in (("x", "H100"), ("y", "H200"), ("z", "H100")):
        path = stored(tmp_path / name) / "summary.json"
        content = json.loads(path.read_text())
        content["servers"][0]["devices"] = [{"name": device}]
        path.write_text(json.dumps(content))
    groups = load_groups([tmp_path / name for name in "xyz"])
    assert [(one.name, len(one.runs)) for one in groups] == [("H100", 2), ("H200", 1)]


def test_no_answer_in_time_counts_as_the_deadline(tmp_path: Path) -> None:
    bad = {Outcome.OK: 9, Outcome.TIMEOUT: 1}
    groups = load_groups([group(tmp_path / "a", 5), group(tmp_path / "b", 5, mix=bad)])
    comparison = compare(groups)
    assert verdicts(comparison)["p99"] is Verdict.WORSE
    assert ">1e+04 ms" in comparison_text(comparison) or ">10000 ms" in comparison_text(comparison)


def test_text_fits_and_json_is_strict(tmp_path: Path) -> None:
    name = "</script>|<img src=x>\u202e\x1b[31m" + "x" * 90
    groups = load_groups([group(tmp_path / "a", 5), group(tmp_path / "b", 5)])
    hostile = [groups[0], type(groups[1])(name, groups[1].runs)]
    comparison = compare(hostile)
    text = comparison_text(comparison)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "\u202e" not in text
    markdown = comparison_markdown(comparison)
    assert "<img" not in markdown
    assert "\x1b" not in markdown
    content = json.loads(comparison_json(comparison))
    assert [metric["name"] for metric in content["metrics"] if metric["primary"]] == [
        "in_slo",
        "p99",
    ]
