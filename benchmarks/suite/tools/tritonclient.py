"""tritonclient's ``async_infer`` behind a semaphore, in a process of its own."""

import importlib.metadata
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.suite.cpus import Cpus
from benchmarks.suite.limits import Limits, run_limited
from benchmarks.suite.load import Load, Outcome


@dataclass(frozen=True)
class TritonClient:
    """A closed loop only."""

    name: str = "tritonclient"

    @property
    def version(self) -> str:
        """Of the installed package."""
        return importlib.metadata.version("tritonclient")

    def run(
        self,
        load: Load,
        limits: Limits,
        cpus: Cpus,
        folder: Path,
        on_start: Callable[[int], None] = lambda pid: None,
    ) -> Outcome:
        """Figures as its loop prints them."""
        loop = [sys.executable, "-m", "benchmarks.suite.tools.tritonclient_loop"]
        ended = run_limited(
            [*loop, load.url, load.model, str(load.concurrency), f"{load.seconds:g}"],
            limits=limits,
            cpus=(cpus.client,),
            folder=folder,
            on_start=on_start,
        )
        if ended.trouble:
            return Outcome(ended, trouble=ended.trouble)
        told = json.loads(ended.stdout)
        return Outcome(ended, told["requests"], told["figures"])
