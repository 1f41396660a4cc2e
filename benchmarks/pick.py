"""What it costs to pick a server: ``python -m benchmarks.pick``.

Prints ns a pick and the shares over 100 000 slots, for each policy and number of servers.
"""

import statistics

from harness._policy import Policy

PICKS = 100_000
RUNS = 5
CASES: tuple[tuple[str, list[int]], ...] = (
    ("failover", [1, 1]),
    *(("round-robin", [1] * servers) for servers in (2, 8, 32)),
    *(("least-outstanding", [1] * servers) for servers in (2, 8, 32)),
    ("weighted", [3, 1]),
    ("weighted", [*range(1, 9)]),
)


def main() -> None:
    """Print the table."""
    print(f"policy             servers   ns a pick (median of {RUNS})   shares")
    for name, weights in CASES:
        in_use = (0,) if name == "failover" else range(len(weights))
        runs = [Policy(name, weights, 1).pick_ns(in_use, PICKS) for _ in range(RUNS)]
        took_ns = statistics.median(took for took, _ in runs)
        shares = " ".join(f"{100 * one / PICKS:.3f}" for one in runs[0][1][:4])
        more = " ..." if len(weights) > 4 else ""
        print(f"{name:18s} {len(weights):7d} {took_ns:26.1f}   {shares}{more} %")


if __name__ == "__main__":
    main()
