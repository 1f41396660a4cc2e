"""d: requests of 3x224x224 FP32, 4 in flight: bytes a second and CPU time per request."""

from benchmarks.suite.load import Load
from benchmarks.suite.result import Run
from benchmarks.suite.servers import IMAGE, IMAGE_BYTES, ServedEmbedded, ServedTriton
from benchmarks.suite.suite import Suite
from benchmarks.suite.tools.harness import Harness

CASE = "d"
TITLE = "3x224x224 FP32 (602 kB) each way, 4 in flight"
IN_FLIGHT = 4


def run(suite: Suite) -> None:
    """Raises OutOfTime, NotStartedError."""
    dims = tuple(map(int, IMAGE.split(",")))
    for served in (
        ServedTriton("Triton, cached", "identity_cached", suite.cpus.server, IMAGE),
        ServedEmbedded(suite.cpus.server, dims),
    ):
        with served:
            for _ in range(suite.plan.runs):
                for tool in (Harness(), *suite.available("perf_analyzer", "tritonclient")):
                    load = Load("", served.model, suite.plan.long_s, concurrency=IN_FLIGHT)
                    figures, trouble = suite.slope(tool, load, served)
                    if "rate" in figures:
                        figures["sent_mb_s"] = figures["rate"] * IMAGE_BYTES / 1e6
                    suite.add(
                        Run(
                            case=CASE,
                            setting=served.name,
                            tool=tool.name,
                            figures=figures,
                            trouble=trouble,
                        )
                    )
