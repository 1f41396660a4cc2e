"""Stored runs damaged at random: a seeded few hundred of what tests/fuzz_results.py does."""

import os
import subprocess
import sys


def test_damaged_runs_are_refused_in_one_line_or_loaded() -> None:
    """In a process of its own, since it bounds its memory and is interrupted by alarms."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz_results", "--count", "300", "--seed", "20000"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert done.stdout.startswith("300 damaged runs: ")
    # Most damage is seen, but not all of it matters.
    assert " refused" in done.stdout
    assert " loaded" in done.stdout
