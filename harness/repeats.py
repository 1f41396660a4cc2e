"""The same run several times, each with a directory of its own, and a command between them."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from harness.config import BenchConfig
from harness.errors import NotStartedError
from harness.results.directory import make_folder


@dataclass(frozen=True)
class Repeat:
    """``number``: from 1."""

    number: int
    config: BenchConfig


class Repeats:
    """``times`` runs into 01, 02 and so on, in the folder that ``config.out`` names.

    ``between``: a shell command that has to succeed before the next one begins.
    """

    def __init__(self, config: BenchConfig, times: int, between: str | None) -> None:
        self.config = config
        self.times = times
        self.between = between

    def configs(self) -> Iterator[Repeat]:
        """One after another. Raises UsageError (no folder), NotStartedError (a command failed)."""
        folder = make_folder(self.config)
        digits = max(2, len(str(self.times)))
        for number in range(1, self.times + 1):
            if number > 1 and self.between is not None:
                _run(self.between, number)
            out = str(folder / f"{number:0{digits}d}")
            yield Repeat(number, self.config.model_copy(update={"out": out}))


def _run(command: str, number: int) -> None:
    # Its output is no result, and must not be mixed into one that is printed.
    ended = subprocess.run(command, shell=True, stdout=2, check=False)
    if ended.returncode:
        raise NotStartedError(
            f"--between ended with exit code {ended.returncode} before run {number};"
            f" the {number - 1} before it are written"
        )
