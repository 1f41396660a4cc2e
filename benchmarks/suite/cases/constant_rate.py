"""b: constant rates against Triton behind its cache: CPU time, lateness, latency."""

from dataclasses import replace

from benchmarks.suite.load import Load
from benchmarks.suite.result import Run
from benchmarks.suite.servers import Served, triton_cached
from benchmarks.suite.suite import Suite
from benchmarks.suite.tools import Tool
from benchmarks.suite.tools.harness import Harness
from benchmarks.suite.tools.perf_analyzer import PerfAnalyzer

CASE = "b"
TITLE = "constant rate, Triton behind its cache"
SPINNING = "harness, spinning"


def run(suite: Suite) -> None:
    """Raises OutOfTime, NotStartedError."""
    sleeping = Harness()
    spinning = Harness(SPINNING, alone=True, spin="always")
    tools: list[Tool] = [sleeping, *suite.available("perf_analyzer"), spinning]
    with triton_cached(suite.cpus.server) as served:
        for rate in suite.plan.rates:
            for _ in range(suite.plan.runs):
                for tool in tools:
                    figures, trouble = one_tool(suite, tool, rate, served)
                    suite.add(
                        Run(
                            case=CASE,
                            setting=f"{rate}/s",
                            tool=tool.name,
                            figures=figures,
                            trouble=trouble,
                        )
                    )


def one_tool(suite: Suite, tool: Tool, rate: float, served: Served) -> tuple[dict[str, float], str]:
    """Its slope; perf_analyzer's lateness is from a third run, which writes its export."""
    load = Load("", served.model, suite.plan.long_s, rate=rate)
    figures, trouble = suite.slope(tool, load, served)
    if isinstance(tool, PerfAnalyzer) and not trouble:
        outcome, _ = suite.counted(tool, replace(load, timestamps=True), served)
        names = [name for name in outcome.figures if name.startswith("late")]
        figures |= {name: outcome.figures[name] for name in names if name not in figures}
        return figures, outcome.trouble
    return figures, trouble
