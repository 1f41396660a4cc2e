"""g: twice what the server can do: the cap, the drops, memory, and how soon it is well again."""

import statistics
import threading
import time

from benchmarks.suite.limits import Limits
from benchmarks.suite.load import Load
from benchmarks.suite.result import Run
from benchmarks.suite.servers import IN_A_ROW, Asking, Served, ServedTriton
from benchmarks.suite.suite import SPARE_S, Suite
from benchmarks.suite.tools import Tool
from benchmarks.suite.tools.harness import Harness
from harness.errors import NotStartedError

CASE = "g"
TITLE = "overload at twice the server's capacity, Triton without cache"
SETTING = "2x capacity"
SLO = "50ms"
IN_FLIGHT = 64
IDLE_REQUESTS = 50
RECOVERY_LIMIT_S = 60.0
PAUSE_S = 0.01


class Prober(threading.Thread):
    """Single requests, one after another. ``answers``: (done, latency in s, None: no answer)."""

    def __init__(self, url: str, model: str) -> None:
        super().__init__(daemon=True)
        self.answers: list[tuple[float, float | None]] = []
        self._url, self._model = url, model
        self._over = threading.Event()

    def run(self) -> None:
        """Until ``stop``."""
        with Asking(self._url, self._model) as asking:
            while not self._over.is_set():
                latency_s = asking.latency_s()
                self.answers.append((time.monotonic(), latency_s))
                self._over.wait(PAUSE_S)

    def stop(self) -> None:
        """Returns when it has ended."""
        self._over.set()
        self.join()


def recovered_s(
    answers: list[tuple[float, float | None]], end_s: float, bound_s: float
) -> float | None:
    """From ``end_s`` to the third answer in a row within ``bound_s``; None if there were none."""
    row = 0
    for done_s, latency_s in answers:
        if done_s < end_s:
            continue
        row = row + 1 if latency_s is not None and latency_s <= bound_s else 0
        if row == IN_A_ROW:
            return done_s - end_s
    return None


def run(suite: Suite) -> None:
    """A fresh server for every run. Raises OutOfTime, NotStartedError."""
    capacity = find_capacity(suite)
    if capacity is None:
        return
    tools: list[Tool] = [
        Harness("harness", alone=False, spin="auto"),
        *suite.available("perf_analyzer"),
    ]
    for _ in range(suite.plan.runs):
        for tool in tools:
            suite.needs(suite.plan.overload_s + SPARE_S)
            with server(suite) as served:
                overload(suite, tool, 2 * capacity, served)


def server(suite: Suite) -> Served:
    """Triton with the identity model that is executed every time."""
    return ServedTriton("Triton, no cache", "identity", suite.cpus.server)


def find_capacity(suite: Suite) -> float | None:
    """Requests/s in a closed loop."""
    with server(suite) as served:
        tool = Harness()
        load = Load(served.url, served.model, suite.plan.long_s, concurrency=IN_FLIGHT)
        outcome = suite.run(tool, load)
    rate = outcome.figures.get("rate")
    suite.add(
        Run(
            case=CASE,
            setting="capacity",
            tool=tool.name,
            figures={} if rate is None else {"rate": rate},
            trouble=outcome.trouble,
        )
    )
    return rate


def overload(suite: Suite, tool: Tool, rate: float, served: Served) -> None:
    """One tool, from an idle server to a well one, or for 60 s."""
    with Asking(served.url, served.model) as asking:
        idle = [asking.latency_s() for _ in range(IDLE_REQUESTS)]
    answered = [one for one in idle if one is not None]
    if not answered:
        raise NotStartedError(f"{served.name} answered none of {IDLE_REQUESTS} single requests")
    idle_s = statistics.median(answered)
    load = Load(
        served.url,
        served.model,
        suite.plan.overload_s,
        rate=round(rate),
        slo=SLO,
        timestamps=True,
    )
    prober = Prober(served.url, served.model)
    prober.start()
    try:
        limits = Limits(2 * load.seconds + SPARE_S, sample_s=0.1)
        outcome = suite.run(tool, load, limits=limits)
        over_ns = time.monotonic_ns() if outcome.load_end_ns is None else outcome.load_end_ns
        well_s = wait_until_well(suite, prober, over_ns / 1e9, 2 * idle_s, served)
    finally:
        prober.stop()
    kept = ("rate", "drops_backpressure", "drops_not_violations", "in_flight_max", "in_flight_cap")
    figures = {"asked_rate": load.rate or 0.0}
    figures |= {name: outcome.figures[name] for name in kept if name in outcome.figures}
    if "in_flight_cap" in figures:
        figures["in_flight_share"] = figures["in_flight_max"] / figures["in_flight_cap"]
    figures["client_rss_mb"] = outcome.ended.peak_rss_bytes / 1e6
    figures["server_rss_mb"] = served.peak_rss_bytes / 1e6
    figures["idle_ms"] = idle_s * 1e3
    troubles = [outcome.trouble]
    if well_s is not None:
        figures["recovery_s"] = well_s
    elif served.killed_at_bytes is not None:
        troubles.append(f"Triton killed at {served.killed_at_bytes / 1e9:.1f} GB")
    else:
        troubles.append(f"Triton not well {RECOVERY_LIMIT_S:.0f} s after the end")
    suite.add(
        Run(
            case=CASE,
            setting=SETTING,
            tool=tool.name,
            figures=figures,
            trouble="; ".join(one for one in troubles if one),
        )
    )


def wait_until_well(
    suite: Suite, prober: Prober, end_s: float, bound_s: float, served: Served
) -> float | None:
    """Seconds after ``end_s``; None if it takes longer than 60 s, or the server was killed."""
    deadline_s = time.monotonic() + min(RECOVERY_LIMIT_S, max(0.0, suite.left_s))
    while True:
        well_s = recovered_s(list(prober.answers), end_s, bound_s)
        if well_s is not None:
            return well_s
        if time.monotonic() > deadline_s or served.killed_at_bytes is not None:
            return None
        time.sleep(PAUSE_S)
