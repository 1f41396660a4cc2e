"""The short form of the doctor: what every run keeps about its machine, in ``summary.json``."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from harness.host import host_facts
from harness.machine.steal import cpu_times, steal_share
from harness.machine.wakeup import wakeup_error

WAKEUP_NS = 25_000_000


@contextmanager
def observed_host(cpus: Collection[int]) -> Iterator[dict[str, Any]]:
    """Facts of the host and what it does to the workers' ``cpus`` while the block runs.

    Spends 25 ms on wake-up errors first; ``steal_share`` is known when the block is left. What
    cannot be measured is None.
    """
    facts: dict[str, Any] = {**host_facts(), "steal_share": None, "wakeup_error_ns": None}
    try:
        error = wakeup_error(max(cpus), WAKEUP_NS)
    except OSError:
        error = None
    if error is not None:
        facts["wakeup_error_ns"] = {"p50": error.p50_ns, "p99": error.p99_ns}
    before = cpu_times()
    try:
        yield facts
    finally:
        facts["steal_share"] = steal_share(before, cpu_times(), cpus)
