"""The examination: everything ``harness doctor`` measures, in order, in about half a minute."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness._clock import read_cost_ns
from harness.config import NS_PER_S
from harness.control.address import parse_address
from harness.control.client import ControlClient
from harness.control.probe import path_floor
from harness.doctor.capacity import Trial, TrialRuns, find_capacity
from harness.doctor.facts import Facts
from harness.doctor.interruption import interruptible
from harness.doctor.judgement import time_text
from harness.doctor.search import FIRST_RATE
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.errors import HarnessError, InterruptedRunError
from harness.host import allowed_cpus, cpu_quota, host_facts
from harness.load.cpus import plan_cpus
from harness.machine.spin_gaps import spin_gaps
from harness.machine.steal import cpu_times, steal_share
from harness.machine.wakeup import wakeup_error

CLOCK_READS = 20_000
CLOCK_TURNS = 5


@dataclass(frozen=True)
class Effort:
    """How long is measured."""

    wakeup_s: float = 2.0
    gaps_s: float = 3.0
    trial_s: float = 1.0
    search_s: float = 20.0


USUAL = Effort()


def examine(
    url: str | None = None,
    on_note: Callable[[str], None] = lambda text: None,
    effort: Effort | None = None,
) -> Facts:
    """Examine this host, and the path to the server at ``url``, which gets empty calls alone.

    ``on_note`` is called with what is being done; ``effort`` None: USUAL. Raises UsageError or
    NotStartedError for a server that cannot be reached, ResultsError without room for temporary
    files, and HarnessError with exit code 130 or 143 when a signal came.
    """
    try:
        with interruptible() as check:
            return _examine(url, on_note, effort or USUAL, check)
    except InterruptedRunError as error:
        name = "SIGTERM" if error.exit_code == 143 else "SIGINT"
        interrupted = HarnessError(f"interrupted by {name}; the host is not examined")
        interrupted.exit_code = error.exit_code
        raise interrupted from None


def _examine(
    url: str | None, on_note: Callable[[str], None], effort: Effort, check: Callable[[], None]
) -> Facts:
    times_before = cpu_times()
    floor_ns = None
    if url is not None:
        address = parse_address(url)
        url = address.canonical
        on_note(f"path floor to {url}")
        with ControlClient(address) as client:
            floor_ns = path_floor(client).median_ns
    usable = allowed_cpus()
    cpu = plan_cpus(usable, cpu_quota(), FIRST_RATE).worker_cpus[0]
    host = host_facts()
    read_ns = min(read_cost_ns(CLOCK_READS) for _ in range(CLOCK_TURNS))
    on_note(f"wake-up error on CPU {cpu}, {effort.wakeup_s:g} s")
    wakeup = wakeup_error(cpu, round(effort.wakeup_s * NS_PER_S))
    on_note(f"spin gaps on CPU {cpu}, {effort.gaps_s:g} s")
    gaps = spin_gaps(cpu, effort.gaps_s)
    # The workers take the last CPUs.
    with EmbeddedServer(ServeConfig(cpu=usable[0])) as server:
        if floor_ns is None:
            on_note("path floor to an embedded server")
            with ControlClient(parse_address(server.url)) as client:
                floor_ns = path_floor(client).median_ns
        with tempfile.TemporaryDirectory(prefix="harness-doctor-") as place:
            on_note(
                f"highest rate against it, runs of {effort.trial_s:g} s for about"
                f" {effort.search_s:g} s"
            )
            capacity = find_capacity(
                TrialRuns(
                    server.url,
                    server.config.model.name,
                    round(effort.trial_s * NS_PER_S),
                    Path(place),
                    check,
                ),
                effort.search_s,
                lambda trial: on_note(_trial_text(trial)),
            )
    return Facts(
        host=host,
        cpu=cpu,
        clock_read_ns=read_ns,
        wakeup=wakeup,
        gaps=gaps,
        path_url=url,
        path_floor_ns=floor_ns,
        capacity=capacity,
        steal_share=steal_share(times_before, cpu_times(), usable),
    )


def _trial_text(trial: Trial) -> str:
    said = f"not held: {trial.fault}"
    if trial.held:
        said = "held" if trial.p99_ns is None else f"held, lateness p99 {time_text(trial.p99_ns)}"
    return f"  {trial.rate:.0f}/s {said}"
