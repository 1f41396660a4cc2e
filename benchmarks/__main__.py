"""``python -m benchmarks``: the harness and its peers side by side; ``make bench`` is this.

Without ``--quick`` it takes about 45 minutes, 75 at most; with it 5. The result is stored after
each case, in ``--out``. ``--write`` puts the table into docs/performance.md; given a
stored result, it does only that.
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from benchmarks.suite.limits import ROOT
from benchmarks.suite.page import PAGE, split_page, write_page
from benchmarks.suite.plans import FULL, QUICK
from benchmarks.suite.result import load_result
from benchmarks.suite.runner import run_suite
from benchmarks.suite.table import CASES, text
from harness.errors import HarnessError


def main(argv: Sequence[str] | None = None) -> int:
    """0 when done, whatever was found; 2 for a wrong option, 130 or 143 when interrupted."""
    arguments = parse(argv)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        if arguments.write not in (None, PAGE):
            write_page(load_result(arguments.write))
            return 0
        if arguments.write:
            split_page(PAGE)
        plan = QUICK if arguments.quick else FULL
        if arguments.runs:
            plan = replace(plan, runs=arguments.runs)
        result = run_suite(plan, arguments.only, arguments.out, say)
        print(text(result))
        print(f"result     {arguments.out}")
        if arguments.write:
            write_page(result)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"interrupted; what is done so far is in {arguments.out}", file=sys.stderr)
        return 130
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; exits with 2 for a wrong one."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = [case.CASE for case in CASES]
    out = ROOT / "runs" / time.strftime("bench-%Y%m%dT%H%M%SZ.json", time.gmtime())
    parser.add_argument("--quick", action="store_true", help="5 minutes")
    parser.add_argument("--only", default="", metavar="a,b", help=f"cases of {','.join(known)}")
    parser.add_argument("--runs", type=int, help="runs a tool; 5, with --quick 1")
    parser.add_argument("--out", type=Path, default=out, metavar="FILE")
    parser.add_argument("--write", type=Path, nargs="?", const=PAGE, metavar="FILE.json")
    arguments = parser.parse_args(argv)
    arguments.only = [one.strip() for one in arguments.only.split(",") if one.strip()]
    if arguments.only == [] and "--only" in (sys.argv[1:] if argv is None else argv):
        parser.error("--only names no case")
    unknown = sorted(set(arguments.only) - set(known))
    if unknown:
        parser.error(f"--only {','.join(unknown)}: the cases are {','.join(known)}")
    if arguments.runs is not None and not 1 <= arguments.runs <= 100:
        parser.error(f"--runs {arguments.runs}: not within 1..100")
    return arguments


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    # As an exception, so that every server and tool is ended on the way out.
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
