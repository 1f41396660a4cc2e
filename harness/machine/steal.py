"""CPU time that the hypervisor gave to others while this machine wanted it, from /proc/stat."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.host import ROOT

MAX_STAT_BYTES = 4 * 2**20
FIELDS = 8  # user nice system idle iowait irq softirq steal; guest time is part of user's
STEAL_FIELD = 7


@dataclass(frozen=True)
class CpuTimes:
    """One CPU's time since boot, in the kernel's ticks."""

    total: int
    steal: int


def parse_stat(text: str) -> dict[int, CpuTimes]:
    """The CPUs of a /proc/stat by number. Lines of a kernel without steal are left out."""
    found = {}
    for line in text.splitlines():
        name, *words = line.split()[: FIELDS + 1] or [""]
        number = name.removeprefix("cpu")
        if name == number or not _is_count(number) or len(words) < FIELDS:
            continue
        if all(map(_is_count, words)):
            ticks = [int(word) for word in words]
            found[int(number)] = CpuTimes(sum(ticks), ticks[STEAL_FIELD])
    return found


def cpu_times(root: Path = ROOT) -> dict[int, CpuTimes]:
    """As they are now; empty where /proc/stat cannot be read."""
    try:
        with (root / "proc/stat").open(encoding="ascii", errors="replace") as stream:
            return parse_stat(stream.read(MAX_STAT_BYTES))
    except OSError:
        return {}


def steal_share(
    before: Mapping[int, CpuTimes], after: Mapping[int, CpuTimes], cpus: Collection[int]
) -> float | None:
    """The share of these CPUs' time that was stolen in between; None where nothing is known."""
    known = [cpu for cpu in set(cpus) if cpu in before and cpu in after]
    total = sum(after[cpu].total - before[cpu].total for cpu in known)
    steal = sum(after[cpu].steal - before[cpu].steal for cpu in known)
    # Counters of a virtual machine have been seen to run backwards.
    return min(1.0, max(0.0, steal / total)) if total > 0 else None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()
