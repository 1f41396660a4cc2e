"""Validity and findings by table; exit codes by precedence."""

from typing import Any

import numpy as np
import pytest

from harness.config import NS_PER_S
from harness.records import Outcome
from harness.results.books import check_books
from harness.results.findings import Verdict, exit_code, judge
from harness.results.rundata import RunData
from tests.synthetic import synthetic_run

BROKEN = {Outcome.OK: 1, Outcome.ERROR: 1}


def verdict(run: RunData) -> Verdict:
    return judge(run, check_books(run))


def codes(run: RunData) -> tuple[list[str], list[str]]:
    found = verdict(run)
    return [one.code for one in found.invalid_reasons], [one.code for one in found.findings]


def test_a_good_run_is_valid_and_without_findings() -> None:
    found = verdict(synthetic_run())
    assert found.model_dump() == {
        "valid": True,
        "invalid_reasons": [],
        "findings": [],
        "slo_held": True,
    }


@pytest.mark.parametrize(
    ("changes", "reasons", "findings"),
    [
        ({"slo_ns": None}, [], []),
        ({"dead_workers": frozenset({1})}, ["worker_lost"], ["slo_broken"]),
        ({"cut_ns": NS_PER_S // 2}, ["interrupted"], []),
        ({"mix": BROKEN}, [], ["slo_broken", "errors"]),
        ({"mix": {Outcome.OK: 9, Outcome.DROPPED: 1}}, [], ["slo_broken", "backpressure"]),
        ({"lateness_ns": 300_000}, ["client_late"], []),
        ({"config": {"percentile": 90.0}}, [], []),
        ({"config": {"percentile": 99.0}}, ["too_few_requests"], []),
    ],
)
def test_reasons_and_findings(
    changes: dict[str, Any], reasons: list[str], findings: list[str]
) -> None:
    assert codes(synthetic_run(**changes)) == (reasons, findings)


def stopped(run: RunData) -> None:
    run.events.append({"t_ns": 5, "event": "stopped"})


def interrupted(run: RunData) -> None:
    run.interrupted_by = "SIGINT"


def terminated(run: RunData) -> None:
    run.interrupted_by = "SIGTERM"


def unbalanced(run: RunData) -> None:
    run.tally.rows["t_sched_ns"][3] += 1


def overflowed(run: RunData) -> None:
    run.workers[0].overflowed = 1


def lost(run: RunData) -> None:
    run.workers[0].state = "hung"


ALLOW = {"allow_invalid": True}
FAIL = {"fail_on_violation": True}


@pytest.mark.parametrize(
    ("spoil", "config", "mix", "results_failed", "code"),
    [
        ([], {}, None, False, 0),
        ([], FAIL, None, False, 0),
        ([], {}, BROKEN, False, 0),
        ([], FAIL, BROKEN, False, 99),
        ([lost], FAIL, BROKEN, False, 4),
        ([lost], {**FAIL, **ALLOW}, BROKEN, False, 99),
        ([lost], ALLOW, None, False, 0),
        ([unbalanced], ALLOW, None, False, 4),
        ([overflowed], ALLOW, None, False, 4),
        ([lost], {}, None, True, 5),
        ([], {}, None, True, 5),
        ([interrupted], {}, None, False, 130),
        ([interrupted], ALLOW, None, False, 130),
        ([interrupted, unbalanced], FAIL, BROKEN, True, 130),
        ([terminated], {}, None, True, 143),
        ([stopped], {}, None, False, 4),
        ([stopped], {**FAIL, **ALLOW}, BROKEN, False, 4),
        ([stopped], {}, None, True, 5),
        ([stopped, interrupted], ALLOW, None, False, 130),
    ],
)
def test_exit_codes(
    spoil: list[Any],
    config: dict[str, Any],
    mix: dict[Outcome, int] | None,
    results_failed: bool,
    code: int,
) -> None:
    run = synthetic_run(config=config, mix=mix or {Outcome.OK: 1})
    for change in spoil:
        change(run)
    assert exit_code(run, verdict(run), run.config, results_failed=results_failed) == code


def test_nothing_decided_is_neither_held_nor_broken() -> None:
    run = synthetic_run(rows=False)
    run.tally.counts[:] = 0
    assert judge(run, []).slo_held is None
    assert np.all(run.tally.counts == 0)
