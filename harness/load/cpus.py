"""Which CPUs workers and coordinator run on, and whether the workers spin."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import UsageError

RATE_PER_WORKER = 20_000
CONCURRENCY_PER_WORKER = 64
MOST_PER_WORKER = 1_000_000
"""Beyond what one worker can come to at all; its ring could not hold what it would drop."""
MIN_SPIN_RATE = 5_000
MAX_WORKERS = 1024

SpinOption = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class CpuPlan:
    """``worker_cpus[w]`` is worker w's CPU; ``reason`` says in a line why they spin or sleep."""

    workers: int
    worker_cpus: tuple[int, ...]
    coordinator_cpus: tuple[int, ...]
    spin: bool
    reason: str

    @property
    def usable(self) -> tuple[int, ...]:
        """Every CPU the run may use, workers' and coordinator's."""
        return tuple(sorted({*self.worker_cpus, *self.coordinator_cpus}))


def plan_cpus(
    allowed: Collection[int],
    quota: float | None,
    rate: float | None,
    workers: int | None = None,
    cpus_option: Sequence[int] | None = None,
    spin: SpinOption = "auto",
    max_inflight: int | None = None,
) -> CpuPlan:
    """Workers, their CPUs and whether they spin.

    ``allowed`` are the CPUs this process may use, ``quota`` the cgroup's in CPUs (None: no quota),
    ``rate`` in requests/s (None: a closed loop), ``max_inflight`` the cap or the concurrency the
    workers share: each needs one of it. Raises UsageError.
    """
    usable = sorted(set(allowed))
    pool_given = _chosen(cpus_option, usable)
    if rate is None:
        wanted = math.ceil((max_inflight or 1) / CONCURRENCY_PER_WORKER)
    else:
        wanted = math.ceil(rate / RATE_PER_WORKER)
    count = _worker_count(len(usable), quota, wanted, workers, pool_given, max_inflight)
    if rate is not None and rate > count * MOST_PER_WORKER:
        raise UsageError(
            f"--rate {rate:g}: the most is {MOST_PER_WORKER}/s a worker, and there"
            f" {'is' if count == 1 else 'are'} {count}; give a lower rate or more --workers"
        )
    if pool_given is not None:
        pool = pool_given[:count]
    elif len(usable) == 1:
        pool = usable
    else:
        pool = usable[-min(count, len(usable) - 1) :]
    worker_cpus = tuple(pool[worker % len(pool)] for worker in range(count))
    rest = tuple(cpu for cpu in usable if cpu not in pool)
    coordinator_cpus = rest or tuple(usable)
    spins, reason = _spin(count, pool, bool(rest), quota, rate, spin)
    return CpuPlan(count, worker_cpus, coordinator_cpus, spins, reason)


def _chosen(cpus_option: Sequence[int] | None, usable: list[int]) -> list[int] | None:
    if cpus_option is None:
        return None
    if not cpus_option:
        raise UsageError("--cpus names no CPU; write it like 0,2-3")
    missing = sorted(set(cpus_option) - set(usable))
    if missing:
        word = "CPU" if len(missing) == 1 else "CPUs"
        raise UsageError(
            f"--cpus: {word} {cpu_list(missing)} cannot be used here; allowed: {cpu_list(usable)}"
        )
    return list(dict.fromkeys(cpus_option))


def _worker_count(
    n_usable: int,
    quota: float | None,
    wanted: int,
    workers: int | None,
    pool_given: list[int] | None,
    max_inflight: int | None,
) -> int:
    if workers is not None:
        if not 1 <= workers <= MAX_WORKERS:
            raise UsageError(f"{workers} workers are not within 1..{MAX_WORKERS}")
        if max_inflight is not None and workers > max_inflight:
            raise UsageError(
                f"{workers} workers cannot share {max_inflight} in flight:"
                " each needs one; give fewer --workers, or a higher --max-inflight or"
                " --concurrency"
            )
        return workers
    most = n_usable // 2 if pool_given is None else len(pool_given)
    if quota is not None:
        most = min(most, math.floor(quota))
    if max_inflight is not None:
        most = min(most, max_inflight)
    return max(1, min(wanted, most, MAX_WORKERS))


def _spin(
    count: int,
    pool: list[int],
    apart: bool,
    quota: float | None,
    rate: float | None,
    spin: SpinOption,
) -> tuple[bool, str]:
    if spin == "never":
        return False, "sleeping: asked for"
    if spin == "always":
        return True, "spinning: asked for"
    if rate is None:
        return False, "sleeping: a closed loop waits for answers, not for a planned time"
    if count > len(pool):
        return False, f"sleeping: {count} workers share {len(pool)} CPU{'s'[: len(pool) > 1]}"
    if not apart:
        return False, "sleeping: the coordinator shares a worker's CPU"
    if quota is not None:
        return False, f"sleeping: a CPU quota of {quota:g} is set"
    if rate / count < MIN_SPIN_RATE:
        return False, f"sleeping: {rate / count:.6g}/s a worker is below {MIN_SPIN_RATE}/s"
    return True, "spinning: every worker has a CPU to itself"


def cpu_list(cpus: Collection[int]) -> str:
    """CPU numbers the way ``--cpus`` takes them: ``0,2-3``."""
    parts: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1][1:] = [cpu]
        else:
            parts.append([cpu])
    return ",".join("-".join(map(str, part)) for part in parts)
