"""The operating curve of the rules: how soon they see a failure, how often they see none.

``python -m benchmarks.operating_curve [--trials 1000] [--hours 24] [--write [FILE]]`` replays the
real rules, detector and policy over simulated buckets, the plain rule over the same faults beside
the default. ``--write`` puts the tables between the markers in docs/switching.md.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.replay import SLO
from benchmarks.simulated_faults import Row, calm_rows, detection_rows
from harness.config import NS_PER_MS
from harness.errors import HarnessError, UsageError

PAGE = Path(__file__).parent.parent / "docs" / "switching.md"
BEGIN, END = "<!-- operating curve: begin -->", "<!-- operating curve: end -->"

EXPECTED_MS = {
    ("20 % of requests bad", 100): (1880, 2700),
    ("20 % of requests bad", 1_000): (1375, 1600),
    ("20 % of requests bad", 10_000): (1200, 1270),
    ("hung", 100): (320, 350),
    ("hung", 1_000): (320, 350),
    ("hung", 10_000): (290, 320),
}
"""Median and p99 that the default rule was designed for."""


def figures(found: Sequence[float | None]) -> str:
    """Median / p99 and the detected share, as two cells."""
    delays = [one for one in found if one is not None]
    share = f"{100 * len(delays) / len(found):.4g} %"
    if not delays:
        return f"none | {share}"
    return f"{np.median(delays):.0f} / {np.percentile(delays, 99):.0f} | {share}"


def moved(counts: Sequence[float | None]) -> str:
    """Switches in all and, of several runs, the share with any, as one cell."""
    total = sum(int(one or 0) for one in counts)
    if len(counts) == 1 or not total:
        return f"{total}"
    return f"{total} in {100 * sum(map(bool, counts)) / len(counts):.3g} % of runs"


def tables(trials: int, hours: float) -> Iterator[str]:
    """The two tables, line by line, as they are measured."""
    yield (
        f"Printed by `python -m benchmarks.operating_curve --trials {trials} --hours {hours:g}"
        " --write`:"
    )
    yield (
        f"{trials} trials a row but for the rows in hours, which are one run each; T ="
        f" {SLO.threshold_ns // NS_PER_MS} ms, L = {100 * SLO.limit:g} %, Poisson arrivals,"
    )
    yield "1 % violations where nothing is said. Both rules see the same slots."
    yield ""
    yield (
        "| fault, window full | rate/s | default: median / p99 ms | seen"
        " | plain: median / p99 ms | seen |"
    )
    yield "|---|---|---|---|---|---|"
    for row in detection_rows(trials):
        yield f"| {row.fault} | {row.rate} | {figures(row.default)} | {figures(row.plain)} |"
        check(row)
    yield ""
    yield "| what happens | rate/s | default: switches | plain: switches |"
    yield "|---|---|---|---|"
    for row in calm_rows(trials, hours):
        yield f"| {row.fault} | {row.rate} | {moved(row.default)} | {moved(row.plain)} |"


def check(row: Row) -> None:
    """Say on stderr how far the default rule is from the delays it was designed for."""
    expected = EXPECTED_MS.get((row.fault, int(row.rate) if row.rate.isdigit() else 0))
    delays = [one for one in row.default if one is not None]
    if expected is None or not delays:
        return
    found = (np.median(delays), np.percentile(delays, 99))
    off = [100 * (one / wanted - 1) for one, wanted in zip(found, expected, strict=True)]
    verdict = "within 10 %" if max(map(abs, off)) <= 10 else "NOT WITHIN 10 %"
    print(
        f"  designed for {expected[0]} / {expected[1]} ms: {off[0]:+.1f} % / {off[1]:+.1f} %,"
        f" {verdict}",
        file=sys.stderr,
        flush=True,
    )


def split_page(path: Path) -> tuple[str, str]:
    """The page before and after the block. UsageError: no such page, or no markers in it."""
    try:
        text = path.read_text()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{path} lacks the lines {BEGIN} and {END}; add them")
    return before + begin + "\n", end + after


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, write them if asked; 2 for a wrong option."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.operating_curve", description=__doc__
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--write", type=Path, nargs="?", const=PAGE, metavar="FILE")
    arguments = parser.parse_args(argv)
    if arguments.trials < 1 or not 0 < arguments.hours <= 1000:
        parser.error("--trials must be 1 or more, --hours within 0..1000")
    try:
        page = split_page(arguments.write) if arguments.write else None
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    lines = []
    for line in tables(arguments.trials, arguments.hours):
        lines.append(line)
        print(line, flush=True)
    if page is not None:
        arguments.write.write_text("\n".join([page[0], *lines, "", page[1]]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
