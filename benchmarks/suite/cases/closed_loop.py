"""a: closed loop, 64 in flight, one connection: rate and CPU time per request."""

from benchmarks.suite.load import Load
from benchmarks.suite.result import Run
from benchmarks.suite.servers import ServedEmbedded, triton_cached
from benchmarks.suite.suite import Suite
from benchmarks.suite.tools.harness import Harness

CASE = "a"
TITLE = "closed loop, 64 in flight"
IN_FLIGHT = 64


def run(suite: Suite) -> None:
    """Raises OutOfTime, NotStartedError."""
    peers = ("perf_analyzer", "tritonclient", "h2load")
    for served, names in (
        (triton_cached(suite.cpus.server), peers),
        (ServedEmbedded(suite.cpus.server), ("h2load",)),
    ):
        with served:
            for _ in range(suite.plan.runs):
                for tool in (Harness(), *suite.available(*names)):
                    load = Load("", served.model, suite.plan.long_s, concurrency=IN_FLIGHT)
                    figures, trouble = suite.slope(tool, load, served)
                    suite.add(
                        Run(
                            case=CASE,
                            setting=served.name,
                            tool=tool.name,
                            figures=figures,
                            trouble=trouble,
                        )
                    )
