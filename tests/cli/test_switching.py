"""The switching options: mistakes get one line and exit 2, before grpc is even imported."""

import subprocess
import sys

import pytest

# A refused command must not have cost the import of grpc, let alone a connection.
CODE = """
import atexit, sys
atexit.register(lambda: "grpc" in sys.modules and print("grpc was imported"))
from harness.cli import main
main()
"""

TWO = "-m m -u a:1 -u b:1 --slo 50ms"
MISTAKES = [
    ("--slo 0ms", "--slo: SLO '0ms' is zero"),
    ("-m m " + " ".join(f"-u a:{n + 1}" for n in range(33)), "-u: 33 servers are too many"),
    ("--slo 50", "--slo: duration '50' has no unit"),
    ("--slo -5ms", "--slo: not a duration: '-5ms'"),
    ("--slo 50ms --violation-limit 0%", "--violation-limit 0 is not within 0..1"),
    ("--slo 50ms --violation-limit 100%", "--violation-limit 1 is not within 0..1"),
    ("--slo 50ms --violation-limit 5", "--violation-limit: share '5' is not below 1"),
    (f"{TWO} --window 49ms", "--window 49ms: must be at least 50ms"),
    (f"{TWO} --window 0s", "--window 0s: must be at least 50ms"),
    (f"{TWO} --window 25h", "--window 25h: must be at most 24h"),
    (f"{TWO} --window 5", "--window: duration '5' has no unit"),
    (f"{TWO} --stall-tolerance 49999us", "--stall-tolerance 49.999ms: must be at least 50ms"),
    (f"{TWO} --window 200ms", "--window 200ms is shorter than the stall tolerance of 250ms"),
    (
        f"{TWO} --window 1s --stall-tolerance 2s",
        "--window 1s is shorter than the stall tolerance of 2s",
    ),
    (
        "--slo 50ms --violation-limit 0.1% --stall-tolerance 2m",
        "--stall-tolerance 2m at a limit of 0.001 asks for a window of 1.39 days",
    ),
    (f"{TWO} --dwell -1s", "--dwell: not a duration: '-1s'"),
    (f"{TWO} --cool-down 25h", "--cool-down 25h: must be at most 24h"),
    (f"{TWO} --policy fastest", "--policy: not a policy: 'fastest'"),
    (f"{TWO} --policy weighted", "--policy: policy 'weighted' lacks its weights"),
    (f"{TWO} --policy weighted:3,0", "weight '0' is not a whole number within 1..1000"),
    (f"{TWO} --policy weighted:3,-1", "weight '-1' is not a whole number within 1..1000"),
    (f"{TWO} --policy weighted:1.5,1", "weight '1.5' is not a whole number within 1..1000"),
    (f"{TWO} --policy weighted:3,1,1", "weighted:3,1,1 has 3 weights for 2 servers"),
    (f"{TWO} --policy weighted:3", "weighted:3 has 1 weight for 2 servers"),
    ("-m m -u a:1 --policy weighted:3,1", "weighted:3,1 has 2 weights for 1 server;"),
    ("--policy weighted:3,1,1", "weighted:3,1,1 has 3 weights for 2 servers"),
    (f"{TWO} --policy round-robin:3,1", "round-robin takes no weights"),
    (f"{TWO} --eject", "--eject: failover leaves a failing server by itself"),
    (f"{TWO} --policy failover --eject", "--eject: failover leaves a failing server by itself"),
    (f"{TWO} --policy round-robin --dwell 1s", "--dwell: --policy round-robin never leaves"),
    (f"{TWO} --policy weighted:3,1 --cool-down 1s", "--cool-down: --policy weighted never leaves"),
    (
        f"{TWO} --policy least-outstanding --on-all-bad stop",
        "--on-all-bad: --policy least-outstanding never leaves",
    ),
    (f"{TWO} --on-all-bad wait", "--on-all-bad wait: Input should be 'stay' or 'stop'"),
    (f"{TWO} --rule strict", "--rule strict: Input should be 'default' or 'plain'"),
    ("--rule plain", "--rule plain counts violations; add an --slo"),
    (f"{TWO} --rule plain --stall-tolerance 1s", "--stall-tolerance: --rule plain has none"),
    ("--window 10s", "--window is of violations; add an --slo"),
    (f"{TWO} --require some", "--require some: Input should be 'all' or 'any'"),
    (f"{TWO} --keep-warm 1", "--keep-warm: not a rate: '1'; write it like 1/s"),
    (f"{TWO} --keep-warm=-1/s", "--keep-warm: not a rate: '-1/s'"),
    (f"{TWO} --keep-warm 1001/s", "--keep-warm 1001/s: must be at most 1000/s"),
    (f"{TWO} --at 5:true", "--at: duration '5' has no unit"),
    (f"{TWO} --at true", "--at: no ':' after the time"),
    (f"{TWO} --at 5s:", "--at: no command at 5s"),
    (f"{TWO} --at 1s:true --at 30s:true", "--at 30s is not before the end of the run at 30s"),
    (f"{TWO} --at 11s:true --duration 10s", "--at 11s is not before the end of the run at 10s"),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_mistakes_get_one_line(arguments: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, "bench", *arguments.split()],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("harness: ")
    assert said in done.stderr
