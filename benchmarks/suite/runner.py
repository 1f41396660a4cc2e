"""One run of the suite, from the tools that can be had to the stored result."""

import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from benchmarks.peers import peer
from benchmarks.spin_gaps import spin_gaps
from benchmarks.suite.cpus import split_cpus
from benchmarks.suite.limits import ROOT
from benchmarks.suite.plans import FULL, Plan
from benchmarks.suite.result import Control, SuiteResult
from benchmarks.suite.suite import OutOfTime, Suite
from benchmarks.suite.table import CASES
from benchmarks.suite.tools import Tool
from benchmarks.suite.tools.h2load import H2load
from benchmarks.suite.tools.perf_analyzer import PerfAnalyzer
from benchmarks.suite.tools.tritonclient import TritonClient
from harness import __version__
from harness.errors import HarnessError, NotStartedError
from harness.host import host_facts, on_cpus
from harness.triton.provision import find

Say = Callable[[str], None]


def run_suite(plan: Plan, only: Sequence[str], out: Path, say: Say) -> SuiteResult:
    """Run the cases, all if ``only`` is empty; the result is in ``out`` after each of them.

    Raises NotStartedError: one CPU, ResultsError: ``out`` cannot be written.
    """
    cpus = split_cpus()
    result = SuiteResult(
        started_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        quick=plan.quick,
        runs_asked=plan.runs,
        host=dict(host_facts()),
        cpus={"server": cpus.server, "client": cpus.client},
        versions={"harness": __version__},
    )
    if plan.rates != FULL.rates:
        rest = [str(rate) for rate in FULL.rates if rate not in plan.rates]
        result.left_out.append(f"case b at {' and '.join(rest)}/s: in the full plan only")
    result.write(out)
    peers = find_peers(result, say)
    runs = ROOT / "runs"
    runs.mkdir(exist_ok=True)
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=runs) as folder, on_cpus([cpus.server]):
        suite = Suite(plan, cpus, peers, result, Path(folder), say)
        try:
            for case in CASES:
                if not only or case.CASE in only:
                    run_case(suite, case)
                    result.took_s = time.monotonic() - start_s
                    result.write(out)
            result.finished = True
        finally:
            result.took_s = time.monotonic() - start_s
            result.write(out)
    return result


def find_peers(result: SuiteResult, say: Say) -> dict[str, Tool]:
    """The peers that can be had; versions and what is missing go into the result."""
    tools: dict[str, Tool] = {"tritonclient": TritonClient()}
    makers: dict[str, Callable[..., Tool]] = {"perf_analyzer": PerfAnalyzer, "h2load": H2load}
    for name, make in makers.items():
        try:
            tools[name] = make(peer(name, say=say))
        except NotStartedError as error:
            result.missing[name] = str(error)
            say(f"missing: {error}")
    result.versions |= {name: tool.version for name, tool in tools.items()}
    triton = find()
    if triton is None:
        result.missing["triton"] = "not provisioned; run: python -m harness.triton.provision"
        say(f"missing: Triton: {result.missing['triton']}")
    else:
        result.versions["triton"] = triton.triton_version
    return tools


def run_case(suite: Suite, case: ModuleType) -> None:
    """One case between two controls; what the time or the machine does not allow is left out."""
    result = suite.result
    suite.say(f"{case.CASE}: {case.TITLE}")
    done = len(result.runs)
    try:
        suite.needs(2 * suite.plan.control_s + 5.0)
        control(suite, case.CASE, "before")
        case.run(suite)
    except (OutOfTime, HarnessError) as why:
        result.left_out.append(f"case {case.CASE} after {len(result.runs) - done} runs: {why}")
        suite.say(f"left out: {result.left_out[-1]}")
    if len(result.runs) > done:
        control(suite, case.CASE, "after")


def control(suite: Suite, case: str, when: str) -> None:
    """What a bare spin loop sees on the client's CPU."""
    gaps = spin_gaps(suite.cpus.client, suite.plan.control_s)
    suite.result.controls.append(Control.model_validate({"case": case, "when": when, **vars(gaps)}))
