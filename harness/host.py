"""What the machine of a run is: CPUs, limits, clock, versions. What is not known is None."""

import ctypes
import os
import platform
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from harness.errors import UsageError
from harness.units import parse_cpus

ROOT = Path("/")

HostFacts = dict[str, str | int | float | bool | list[int] | None]


def host_facts(root: Path = ROOT) -> HostFacts:
    """Facts for the results and for people. ``root`` is where /proc and /sys are read."""
    cpuinfo = _read(root / "proc/cpuinfo") or ""
    governor = _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    clock = _read(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
    kernel = platform.uname()
    return {
        "cpu_model": _cpuinfo_value(cpuinfo, "model name"),
        "cpus_allowed": list(allowed_cpus()),
        "cpus_online": os.cpu_count(),
        "cores": _cores(cpuinfo),
        "cpus_isolated": _cpu_list(_read(root / "sys/devices/system/cpu/isolated")),
        "cpu_quota": cpu_quota(root),
        "memory_total_bytes": _meminfo_bytes(root, "MemTotal"),
        "memory_available_bytes": memory_available_bytes(root),
        "memory_limit_bytes": memory_limit_bytes(root),
        "governor": governor,
        "clock_source": clock,
        "hypervisor": "hypervisor" in (_cpuinfo_value(cpuinfo, "flags") or "").split()
        if cpuinfo
        else None,
        "kernel": kernel.release,
        "machine": kernel.machine,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "nghttp2": nghttp2_version(),
    }


def allowed_cpus() -> tuple[int, ...]:
    """The CPUs this process may run on, in order."""
    return tuple(sorted(os.sched_getaffinity(0)))


def cpu_quota(root: Path = ROOT) -> float | None:
    """The tightest CPU quota of this process's cgroups, in CPUs; None without one."""
    quotas = []
    for directory in _cgroup_directories(root, "cpu"):
        words = (_read(directory / "cpu.max") or "").split()
        if len(words) != 2:
            words = [
                _read(directory / "cpu.cfs_quota_us") or "",
                _read(directory / "cpu.cfs_period_us") or "",
            ]
        quota, period = _number(words[0]), _number(words[1])
        if quota is not None and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


def memory_limit_bytes(root: Path = ROOT) -> int | None:
    """The tightest memory limit of this process's cgroups; None without one."""
    return min((limit for limit, _ in _memory_cgroups(root)), default=None)


def memory_available_bytes(root: Path = ROOT) -> int | None:
    """Memory that can still be had: the kernel's estimate, less where a cgroup's limit is near."""
    figures = [max(0, limit - used) for limit, used in _memory_cgroups(root)]
    available = _meminfo_bytes(root, "MemAvailable")
    if available is not None:
        figures.append(available)
    return min(figures, default=None)


def nghttp2_version() -> str | None:
    """The version of the nghttp2 library that is loaded or would be; None if there is none."""

    class Info(ctypes.Structure):
        _fields_ = (  # nghttp2_info
            ("age", ctypes.c_int),
            ("version_num", ctypes.c_int),
            ("version_str", ctypes.c_char_p),
            ("proto_str", ctypes.c_char_p),
        )

    try:
        version = ctypes.CDLL("libnghttp2.so.14").nghttp2_version
    except (OSError, AttributeError):
        return None
    version.restype = ctypes.POINTER(Info)
    version.argtypes = (ctypes.c_int,)
    found = version(0)
    return found.contents.version_str.decode("ascii", "replace") if found else None


def _memory_cgroups(root: Path) -> list[tuple[int, int]]:
    """(limit, bytes in use that cannot be given back) of each cgroup that sets a limit."""
    found = []
    total = _meminfo_bytes(root, "MemTotal")
    for directory in _cgroup_directories(root, "memory"):
        limit = _number(_read(directory / "memory.max"))
        used, cache = _number(_read(directory / "memory.current")), "inactive_file"
        if limit is None:
            limit = _number(_read(directory / "memory.limit_in_bytes"))
            used, cache = _number(_read(directory / "memory.usage_in_bytes")), "total_inactive_file"
        # cgroup v1 says "no limit" with a number near 2^63.
        if limit is None or (total is not None and limit >= total):
            continue
        stat = dict(
            line.split(maxsplit=1)
            for line in (_read(directory / "memory.stat") or "").splitlines()
            if len(line.split()) == 2
        )
        found.append((limit, max(0, (used or 0) - (_number(stat.get(cache)) or 0))))
    return found


def _cgroup_directories(root: Path, controller: str) -> list[Path]:
    """Directories of this process's cgroup and those above it, v2 and v1, for one controller."""
    mounts = _cgroup_mounts(root)
    directories = []
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        controllers = parts[1].split(",")
        kind = "" if parts[1] == "" else controller
        if kind and controller not in controllers:
            continue
        if kind not in mounts:
            continue
        mount_root, mount = mounts[kind]
        path = parts[2]
        if mount_root != "/" and path.startswith(mount_root):
            path = path[len(mount_root) :]
        steps = [step for step in path.split("/") if step and step != ".."]
        base = root / mount.lstrip("/")
        directories += [base.joinpath(*steps[:n]) for n in range(len(steps), -1, -1)]
    return directories


def _cgroup_mounts(root: Path) -> dict[str, tuple[str, str]]:
    """controller ("" for v2) -> (root of the mount inside the hierarchy, mount point)."""
    mounts = {}
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        fields = line.split()
        if "-" not in fields or len(fields) < 10:
            continue
        tail = fields[fields.index("-") + 1 :]
        if tail[0] == "cgroup2":
            mounts[""] = (fields[3], fields[4])
        elif tail[0] == "cgroup":
            for option in tail[-1].split(","):
                mounts[option] = (fields[3], fields[4])
    return mounts


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _number(text: str | None) -> int | None:
    """A count; None for "max", "-1" or nothing."""
    return int(text) if text and text.isascii() and text.isdigit() else None


def _meminfo_bytes(root: Path, key: str) -> int | None:
    for line in (_read(root / "proc/meminfo") or "").splitlines():
        words = line.split()
        if words and words[0] == f"{key}:" and len(words) > 1:
            kib = _number(words[1])
            return None if kib is None else kib * 1024
    return None


def _cpuinfo_value(cpuinfo: str, key: str) -> str | None:
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            return value.strip()
    return None


def _cores(cpuinfo: str) -> int | None:
    """Physical ones, each as many CPUs as it has threads; None where the kernel does not tell."""
    cores = set()
    for processor in cpuinfo.split("\n\n"):
        core = _cpuinfo_value(processor, "core id")
        if core is not None:
            cores.add((_cpuinfo_value(processor, "physical id"), core))
    return len(cores) or None


def _cpu_list(text: str | None) -> list[int] | None:
    if not text:
        return None
    try:
        return list(parse_cpus(text))
    except UsageError:
        return None


@contextmanager
def on_cpus(cpus: Collection[int] | None) -> Iterator[None]:
    """The calling thread, and what it starts, run on these CPUs meanwhile; None: where they are."""
    before = os.sched_getaffinity(0)
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
