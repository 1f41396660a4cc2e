"""From facts to rows: what each means for a load generator, and what to do. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.doctor.capacity import Capacity, Trial
from harness.doctor.facts import Facts
from harness.load.cpus import RATE_PER_WORKER, cpu_list
from harness.results.validity import LATENESS_FLOOR_NS
from harness.untrusted import clean_text

CLOCKS = ("tsc", "arch_sys_counter")
"""Read without a system call, of x86 and of Arm."""
CLOCK_READ_LIMIT_NS = 100.0
LOST_SHARE_LIMIT = 0.005
"""Half of what the p99 of lateness leaves."""
WAKEUP_LIMIT_NS = 150_000
"""The widest guard: a worker cannot wake earlier than this before a slot."""
GAP_LIMIT_US = 100_000.0
"""The default --max-lag at most: a slot that is due at the start of a longer gap is dropped."""
PATH_LIMIT_NS = 1_000_000

Measured = tuple[str, str | None]
"""A row's value, and advice where something is to be done."""


@dataclass(frozen=True)
class Row:
    """One line of the examination; ``advice`` is None exactly if the verdict is ``ok``."""

    name: str
    value: str
    verdict: Literal["ok", "look"]
    advice: str | None


def judge(facts: Facts) -> list[Row]:
    """A row for each thing that was looked at, always the same ones in the same order."""
    rows: list[tuple[str, Callable[[Facts], Measured]]] = [
        ("clock source", _clock),
        ("governor", _governor),
        ("CPUs", _cpus),
        ("CPU quota", _quota),
        ("steal", _steal),
        ("wake-up error", _wakeup),
        ("spin gaps", _gaps),
        ("path floor", _path),
        ("highest rate", lambda found: _rate(found.capacity)),
        ("lateness", lambda found: _lateness(found.capacity)),
    ]
    judged = []
    for name, look in rows:
        value, advice = look(facts)
        judged.append(Row(name, value, "ok" if advice is None else "look", advice))
    return judged


def time_text(time_ns: float) -> str:
    """To three digits or so: ``0.12 us``, ``88.3 us``, ``1.46 ms``, ``2350 ms``."""
    value, unit = (time_ns / 1e6, "ms") if abs(time_ns) >= 999_500 else (time_ns / 1e3, "us")
    return f"{value:.0f} {unit}" if abs(value) >= 999.5 else f"{value:.3g} {unit}"


def _clock(facts: Facts) -> Measured:
    source = _name(facts, "clock_source")
    value = f"{source or 'not shown here'}, {facts.clock_read_ns:.0f} ns a read"
    if facts.clock_read_ns > CLOCK_READ_LIMIT_NS:
        return value, (
            f"a read should cost under {CLOCK_READ_LIMIT_NS:.0f} ns; use the clock source tsc"
            " (/sys/devices/system/clocksource), or a machine that offers it"
        )
    if source and source not in CLOCKS:
        return value, "boot with clocksource=tsc if the processor's counter is stable here"
    return value, None


def _name(facts: Facts, key: str) -> str:
    return clean_text(str(facts.host.get(key) or ""), 24)


def _governor(facts: Facts) -> Measured:
    governor = _name(facts, "governor")
    if not governor:
        return "not shown here, as in most virtual machines", None
    if governor == "performance":
        return governor, None
    return governor, "clocks down between slots; cpupower frequency-set -g performance"


def _cpus(facts: Facts) -> Measured:
    allowed = facts.host.get("cpus_allowed")
    cpus = allowed if isinstance(allowed, list) else [facts.cpu]
    value = f"{cpu_list(cpus)} allowed, a worker gets CPU {facts.cpu}"
    if len(cpus) < 2:
        return value, "worker, coordinator and servers share one CPU; allow two or more"
    return value, None


def _quota(facts: Facts) -> Measured:
    quota = facts.host.get("cpu_quota")
    if quota is None:
        return "none", None
    return f"{quota:.4g} CPUs", (
        "workers sleep rather than spin, and may be throttled for tens of ms; lift the quota"
        " (cpu.max; in Kubernetes leave the CPU limit out)"
    )


def _steal(facts: Facts) -> Measured:
    if facts.steal_share is None:
        return "not known", None
    value = f"{100 * facts.steal_share:.2f} % of the CPU time"
    if facts.steal_share > LOST_SHARE_LIMIT:
        return value, (
            f"over {100 * LOST_SHARE_LIMIT:g} % the hypervisor alone makes slots late; use a"
            " dedicated machine or another instance type"
        )
    return value, None


def _wakeup(facts: Facts) -> Measured:
    error = facts.wakeup
    if error is None:
        return "not known", "no sleep ended in time to be counted; run again on an idle machine"
    value = (
        f"p50 {time_text(error.p50_ns)}, p99 {time_text(error.p99_ns)},"
        f" max {time_text(error.max_ns)}, {error.sleeps} sleeps"
    )
    if error.p99_ns > WAKEUP_LIMIT_NS:
        return value, (
            f"more than the guard of {time_text(WAKEUP_LIMIT_NS)} hides: use --spin always, or"
            " switch deep idle states off (cpupower idle-set -D 10)"
        )
    return value, None


def _gaps(facts: Facts) -> Measured:
    gaps = facts.gaps
    value = (
        f"{gaps.over_100us} over 100 us, {gaps.over_1ms} over 1 ms,"
        f" longest {time_text(gaps.max_us * 1000)} in {gaps.seconds:g} s"
    )
    if gaps.lost_share > LOST_SHARE_LIMIT or gaps.max_us > GAP_LIMIT_US:
        return value, (
            f"CPU {facts.cpu} was away for {100 * gaps.lost_share:.2g} % of the time; stop what"
            " else runs, or keep the CPU free of it (isolcpus, nohz_full, taskset)"
        )
    return value, None


def _path(facts: Facts) -> Measured:
    server = facts.path_url or "the embedded server"
    value = f"{time_text(facts.path_floor_ns)} to {clean_text(server, 80)}"
    if facts.path_floor_ns <= PATH_LIMIT_NS:
        return value, None
    if facts.path_url is None:
        return value, "an empty call on this host should take less than 1 ms; stop what else runs"
    return value, "every latency holds this much network and gRPC; run nearer to the server"


def _rate(capacity: Capacity) -> Measured:
    bracket = capacity.bracket
    broken, best = capacity.last_at(bracket.broken), capacity.last_at(bracket.held)
    why = "" if broken is None else f"{broken.rate:.0f}/s not: {clean_text(broken.fault or '')}"
    if best is None:
        return f"none held; {why}" if why else "none tried to the end", _busy_advice()
    held = best.rate
    pacing = f" ({best.pacing.partition(':')[0]})" if best.pacing else ""
    value = f"{held:.0f}/s{pacing}; {why}" if why else f"at least {held:.0f}/s{pacing}"
    if held < RATE_PER_WORKER:
        return value, f"a worker is planned for {RATE_PER_WORKER}/s; {_busy_advice()}"
    return value, None


def _lateness(capacity: Capacity) -> Measured:
    best: Trial | None = capacity.smallest
    if best is None or best.p50_ns is None or best.p99_ns is None:
        return "not known", _busy_advice()
    value = f"p50 {time_text(best.p50_ns)}, p99 {time_text(best.p99_ns)} at {best.rate:.0f}/s"
    if best.p99_ns > LATENESS_FLOOR_NS:
        limit = time_text(LATENESS_FLOOR_NS)
        return value, f"runs with a p99 over {limit} may be invalid; {_busy_advice()}"
    return value, None


def _busy_advice() -> str:
    return "stop what else runs here, and see the rows above"
