"""``harness demo``: the main job on embedded servers."""

import sys


def demo() -> int:
    """Send a Poisson load to an embedded server for 10 s and show the result."""
    from harness.cli.bench import DEFAULT_MODEL
    from harness.cli.run import print_out, run_bench
    from harness.config import NS_PER_S
    from harness.slo import parse_slo

    print_out("harness bench --dist poisson --rate 1000 --duration 10s --slo 50ms\n")
    return run_bench(
        {
            "model": DEFAULT_MODEL,
            "dist": "poisson",
            "rate": 1000.0,
            "duration_ns": 10 * NS_PER_S,
            "slo": parse_slo("50ms"),
            "allow_invalid": True,  # a busy machine is no reason for a demonstration to fail
        },
        sys.argv,
    )
