"""f: CPU time of ``harness bench --help``, and from the command to the first slot."""

from benchmarks.suite.limits import Limits, run_limited
from benchmarks.suite.load import Load
from benchmarks.suite.result import Run
from benchmarks.suite.servers import ServedEmbedded
from benchmarks.suite.suite import Suite
from benchmarks.suite.tools.harness import COMMAND, Harness

CASE = "f"
TITLE = "start-up"
HELP, FIRST_SLOT = "bench --help", "command to first slot"
RUNS = 5


def run(suite: Suite) -> None:
    """Five runs each, also in the quick plan. Raises OutOfTime, NotStartedError."""
    for _ in range(max(RUNS, suite.plan.runs)):
        suite.needs(1.0)
        with suite.scratch() as folder:
            ended = run_limited(
                [*COMMAND, "bench", "--help"],
                limits=Limits(30.0),
                cpus=(suite.cpus.client,),
                folder=folder,
            )
        figures = {} if ended.trouble else {"cpu_s": ended.cpu_s, "wall_s": ended.wall_s}
        suite.add(
            Run(case=CASE, setting=HELP, tool="harness", figures=figures, trouble=ended.trouble)
        )
    with ServedEmbedded(suite.cpus.server) as served:
        tool = Harness(alone=True, warmup_s=0.0)
        for _ in range(max(RUNS, suite.plan.runs)):
            outcome = suite.run(tool, Load(served.url, served.model, 0.2, rate=100))
            found = outcome.figures.get("first_slot_s")
            suite.add(
                Run(
                    case=CASE,
                    setting=FIRST_SLOT,
                    tool=tool.name,
                    figures={} if found is None else {"first_slot_s": found},
                    trouble=outcome.trouble,
                )
            )
