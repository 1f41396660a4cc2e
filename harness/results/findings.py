"""What a run's figures are worth (validity), what was found, and the exit code that says so."""

import signal
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from harness.config import BenchConfig
from harness.results.books import Imbalance
from harness.results.rundata import RunData
from harness.results.server_findings import Finding, server_findings, slo_held
from harness.results.switch_findings import switch_findings
from harness.results.totals import totals
from harness.results.validity import ALWAYS_FATAL, InvalidReason, invalid_reasons

EXIT_RESULTS, EXIT_INVALID, EXIT_VIOLATED = 5, 4, 99


class Verdict(BaseModel):
    """``valid`` speaks of the instrument only. ``slo_held`` is None without an SLO."""

    model_config = ConfigDict(frozen=True)

    valid: bool
    invalid_reasons: list[InvalidReason]
    findings: list[Finding]
    slo_held: bool | None


def judge(run: RunData, imbalances: Sequence[Imbalance]) -> Verdict:
    """Validity with its reasons, and the findings, of one run."""
    found = totals(run.tally)
    reasons = invalid_reasons(run, found, imbalances)
    return Verdict(
        valid=not reasons,
        invalid_reasons=reasons,
        findings=[*server_findings(run, found), *switch_findings(run)],
        slo_held=slo_held(run.config, found),
    )


def exit_code(
    run: RunData, verdict: Verdict, config: BenchConfig, *, results_failed: bool = False
) -> int:
    """Of the process: 130 or 143 interrupted, 5 no results, 4 invalid or stopped as all servers are
    bad, 99 SLO broken, else 0.
    """
    if run.interrupted_by is not None:
        return 128 + signal.Signals[run.interrupted_by]
    if results_failed:
        return EXIT_RESULTS
    if any(event["event"] == "stopped" for event in run.events):
        return EXIT_INVALID
    fatal = any(reason.code in ALWAYS_FATAL for reason in verdict.invalid_reasons)
    if not verdict.valid and (fatal or not config.allow_invalid):
        return EXIT_INVALID
    if config.fail_on_violation and verdict.slo_held is False:
        return EXIT_VIOLATED
    return 0
