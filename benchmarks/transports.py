"""The native transport beside tritonclient's: same plan, same real Triton, A B A B.

``python -m benchmarks.transports [--pairs 5]``: Poisson 100/s for 10 s against the example model
``delayed`` (20 ms, 8 instances). Prints outcome counts, plan hashes and median service latencies.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.spin_gaps import spin_gaps
from harness import Bench, BenchConfig
from harness.results.summary import Summary
from harness.triton.server import TritonServer

MODELS = Path(__file__).resolve().parents[1] / "examples" / "models"
TRANSPORTS = ("native", "tritonclient")
NS_PER_S = 10**9


def one_run(url: str, transport: str, folder: str) -> Summary:
    """One run of 10 s."""
    config = BenchConfig(
        model="delayed",
        urls=(url,),
        transport=transport,
        dist="poisson",
        rate=100.0,
        duration_ns=10 * NS_PER_S,
        warmup_ns=NS_PER_S,
        cpus=(max(os.sched_getaffinity(0)),),
        out=folder,
        force=True,
    )
    return Bench(config).run().summary


def main() -> None:
    """Run the pairs and print each run and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    pairs = parser.parse_args().pairs
    medians_ms: dict[str, list[float]] = {transport: [] for transport in TRANSPORTS}
    seen = set()
    server_cpu = min(os.sched_getaffinity(0))
    with (
        TritonServer(MODELS, cpus=[server_cpu]) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        print(spin_gaps(max(os.sched_getaffinity(0)), 3.0))
        for _ in range(pairs):
            for transport in TRANSPORTS:
                found = one_run(server.grpc_url, transport, folder)
                totals = found.totals
                counts = (totals.ok, totals.error, totals.timeout, totals.dropped)
                seen.add((counts, found.plan.hash))
                assert found.service_ns.p50 is not None
                medians_ms[transport].append(found.service_ns.p50 / 1e6)
                print(
                    f"{transport:12s} ok {totals.ok} error {totals.error} timeout"
                    f" {totals.timeout} dropped {totals.dropped} plan {found.plan.hash[:8]}"
                    f" service p50 {found.service_ns.p50 / 1e6:.3f} ms",
                    flush=True,
                )
    native, reference = (statistics.median(medians_ms[transport]) for transport in TRANSPORTS)
    print(f"distinct (counts, plan hash): {len(seen)}")
    print(
        f"median service p50: native {native:.3f} ms, tritonclient {reference:.3f} ms,"
        f" difference {native - reference:+.3f} ms"
    )


if __name__ == "__main__":
    main()
