"""The tools that are compared: one runner a file, and all that can be had here."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from benchmarks.suite.cpus import Cpus
from benchmarks.suite.limits import Limits
from benchmarks.suite.load import Load, Outcome


class Tool(Protocol):
    """A load generator. ``run`` never raises for what the program does."""

    @property
    def name(self) -> str:
        """As in tables."""
        ...

    @property
    def version(self) -> str:
        """As the program says."""
        ...

    def run(
        self,
        load: Load,
        limits: Limits,
        cpus: Cpus,
        folder: Path,
        on_start: Callable[[int], None] = lambda pid: None,
    ) -> Outcome:
        """Send the load once, with files under ``folder``, which is empty."""
        ...
