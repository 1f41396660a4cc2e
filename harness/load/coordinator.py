"""The coordinator: drains the rings, watches the workers, ends a phase."""

import contextlib
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness._orphans import orphans
from harness._shm import Segment
from harness._tally import Tally
from harness.config import NS_PER_MS
from harness.load.channel import ChannelClosed
from harness.load.fleet import Fleet, WorkerProcess
from harness.plan import PlanSpec
from harness.records import ABSENT_NS, BUCKET_NS, NO_SERVER, RECORD, Flag, Outcome

LOOK_EVERY_NS = 10_000_000
TURN_EVERY_NS = 3 * BUCKET_NS // 2
SILENT_NS = 5 * BUCKET_NS
"""A worker that has not turned its loop for so long is left out, and not waited for."""
IN_STEP_NS = 10_000_000
"""Workers whose watermark is this close to now will complete the next bucket on time."""

LEAD_NS = 30_000_000
"""From the word to start to slot 0: the workers have to hear it."""
HUNG_NS = 5_000_000_000
CUT_LEAD_NS = 50_000_000
"""The cut lies this far ahead, so that no worker has passed it when it is set."""
OVERTIME_NS = 500_000_000
"""After the end of the drain a worker that has not ended is killed."""
RELEASE_EVERY_NS = 250_000_000
PROGRESS_EVERY_NS = 500_000_000
STOOD_STILL_NS = 5 * BUCKET_NS
"""A coordinator that did not run for so long decided late on whatever happened meanwhile."""


def soon_ns() -> int:
    """As soon as the workers can have heard of it; CLOCK_MONOTONIC."""
    return time.monotonic_ns() + LEAD_NS


class Control(Protocol):
    """What decides which servers the load goes to."""

    def look(self, now_ns: int) -> None:
        """Before the rings are drained."""

    def turn(self, now_ns: int) -> bool:
        """After that. True: cut the plan here."""

    def finish(self) -> None:
        """All workers have ended."""


@dataclass
class Phase:
    """One plan sent by all workers: the warm-up, or the run itself."""

    spec: PlanSpec
    prefix: str
    tally: Tally
    drain_ns: int
    slo_ns: int | None
    release: Callable[[], None] = lambda: None
    progress: Callable[["Phase", int], None] = lambda phase, now_ns: None
    in_use: tuple[int, ...] = (0,)  # at its start
    control: "Control | None" = None
    prompt: bool = False  # commands are to start on time
    probe_ns: int = 0  # what the slowest server took for a single request before the load
    commands: Callable[[int], list[dict[str, Any]]] = lambda now_ns: []
    events: list[dict[str, Any]] = field(default_factory=list)
    on_event: Callable[[dict[str, Any]], None] = lambda event: None
    begin: Callable[[], int] = soon_ns  # says when slot 0 is; may wait for others
    origin_ns: int = 0
    cut_ns: int | None = None
    samples: NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 0), np.int32))

    @property
    def end_ns(self) -> int:
        """When the drain is over at the latest, ns since the origin."""
        last_ns = self.spec.duration_ns if self.cut_ns is None else self.cut_ns
        return last_ns + self.drain_ns

    def tell(self, event: dict[str, Any]) -> None:
        """Keep an event, and say it at once."""
        self.events.append(event)
        self.on_event(event)


class Coordinator:
    """Runs phases over a fleet. ``interrupt`` may be called from a signal handler."""

    def __init__(self, segment: Segment, fleet: Fleet, servers: int) -> None:
        self.segment = segment
        self.fleet = fleet
        self.servers = servers
        self.interrupts = 0
        self.poked = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.sampled = -1  # the last bucket that was
        self.slowest_ns = 0  # watermark, when it was last looked at
        self.pushed = -1  # records of all workers, likewise

    def interrupt(self) -> None:
        """Once: take no more slots and drain. Twice: give up what is in flight."""
        self.interrupts += 1
        # A signal alone does not end the wait for the workers.
        if self.poked >= 0:
            os.eventfd_write(self.poked, 1)

    def close(self) -> None:
        """Let go of what it waits on."""
        poked, self.poked = self.poked, -1
        os.close(poked)

    @property
    def gave_up(self) -> bool:
        """Whether it was interrupted twice."""
        return self.interrupts > 1

    def run(self, phase: Phase) -> None:
        """Send one plan and account for every slot of it, whatever becomes of the workers."""
        self._start(phase)
        poller = select.poll()
        poller.register(self.poked, select.POLLIN)
        for worker in self.fleet.workers:
            poller.register(worker.channel, select.POLLIN)
            poller.register(worker.pidfd, select.POLLIN)
        handled = 0
        t_turn_ns = now_ns = time.monotonic_ns() - phase.origin_ns
        routine = _Routine(phase, now_ns)
        while running := [w for w in self.fleet.workers if w.state == "running"]:
            ready = {fd for fd, _ in poller.poll(self._pause_ns(phase, now_ns) // NS_PER_MS)}
            before_ns, now_ns = now_ns, time.monotonic_ns() - phase.origin_ns
            if now_ns - before_ns > STOOD_STILL_NS:
                late = {"t_ns": now_ns, "event": "coordinator_late", "gap_ns": now_ns - before_ns}
                phase.tell(late)
            if self.poked in ready:
                ready.remove(self.poked)
                os.eventfd_read(self.poked)
            if self.interrupts > handled:
                handled = self.interrupts
                self._cut(phase, now_ns, give_up=handled > 1)
            for event in phase.commands(now_ns):
                phase.tell(event)
            self._sample(phase, now_ns)
            news = self._look(phase, running, now_ns)
            if not ready and not news and now_ns - t_turn_ns < TURN_EVERY_NS:
                continue
            t_turn_ns = now_ns
            self._turn(phase, running, ready, now_ns)
            routine.turn(now_ns)
            for worker in running:
                if worker.state != "running":
                    poller.unregister(worker.channel)
                    poller.unregister(worker.pidfd)
        if phase.control is not None:
            phase.control.finish()
        for worker in self.fleet.workers:
            if worker.state != "finished":
                self._account_for_dead(phase, worker)

    def _turn(
        self, phase: Phase, running: list[WorkerProcess], ready: set[int], now_ns: int
    ) -> None:
        """Drain the rings, and act on what they brought."""
        if phase.control is not None:
            phase.control.look(now_ns)
        for worker in running:
            self._look_after(phase, worker, ready, now_ns)
        if phase.control is not None and phase.control.turn(now_ns):
            self._cut(phase, now_ns, give_up=False)

    def _look(self, phase: Phase, running: list[WorkerProcess], now_ns: int) -> bool:
        """Whether there may be a decision: another bucket is complete, or nothing ends any more."""
        complete, pushed = self.slowest_ns // BUCKET_NS, self.pushed
        self.pushed = sum(self.segment.pushed(worker.index) for worker in running)
        pulses = [self.segment.pulse(worker.index) for worker in running]
        heard_ns = [mark_ns for beat_ns, mark_ns, _ in pulses if now_ns - beat_ns <= SILENT_NS]
        if heard_ns:
            self.slowest_ns = max(0, min(heard_ns))
        news = self.slowest_ns // BUCKET_NS > complete or self.pushed == pushed
        return phase.control is not None and news

    def _pause_ns(self, phase: Phase, now_ns: int) -> int:
        """Until the next bucket should be complete; waking up is most of what a look costs."""
        if phase.prompt or now_ns - self.slowest_ns > IN_STEP_NS:
            return LOOK_EVERY_NS
        to_go_ns = BUCKET_NS - self.slowest_ns % BUCKET_NS + max(0, self.slowest_ns - now_ns)
        return min(to_go_ns + NS_PER_MS, TURN_EVERY_NS)

    def _start(self, phase: Phase) -> None:
        buckets = phase.tally.bucket_count
        phase.samples = np.full((self.servers, buckets), -1, dtype=np.int32)
        self.sampled = self.pushed = -1
        self.slowest_ns = 0
        self.segment.reset()
        self.segment.set_verdict(0, phase.in_use)
        phase.origin_ns = phase.begin()
        order = {
            "dist": phase.spec.dist,
            "rate": phase.spec.rate or 0.0,
            "seed": phase.spec.seed,
            "duration_ns": phase.spec.duration_ns,
            "prefix": phase.prefix,
            "origin_ns": phase.origin_ns,
            "drain_ns": phase.drain_ns,
        }
        for worker in self.fleet.workers:
            worker.state, worker.ended, worker.t_dead_ns = "running", None, None
            with contextlib.suppress(ChannelClosed):  # its death is seen through the pidfd
                worker.channel.send({"run": order})

    def _cut(self, phase: Phase, now_ns: int, *, give_up: bool) -> None:
        if phase.cut_ns is None:
            phase.cut_ns = self.segment.cut_soon(
                phase.origin_ns, CUT_LEAD_NS, phase.spec.duration_ns
            )
            phase.tally.cut(phase.cut_ns)
            phase.tell({"t_ns": now_ns, "event": "cut"})
        if give_up:
            self.segment.cancel()
            phase.tell({"t_ns": now_ns, "event": "give_up"})
        self.fleet.wake()

    def _look_after(
        self, phase: Phase, worker: WorkerProcess, ready: set[int], now_ns: int
    ) -> None:
        # Seen before the ring is drained: what a dead worker pushed is all there then.
        dead = worker.pidfd in ready
        message = None
        if worker.channel.fileno() in ready:
            with contextlib.suppress(ChannelClosed):
                message = worker.channel.receive(0)
        phase.tally.drain(self.segment, worker.index)
        if message is not None and "ended" in message:
            worker.ended, worker.state = message["ended"], "finished"
        elif dead:
            worker.state = "died"
        elif now_ns - max(0, self.segment.heartbeat_ns(worker.index)) > HUNG_NS or (
            now_ns > phase.end_ns + OVERTIME_NS
        ):
            worker.kill()
            phase.tally.drain(self.segment, worker.index)
            worker.state = "hung"
        if worker.state in ("died", "hung"):
            worker.t_dead_ns = time.monotonic_ns()
            phase.tell({"t_ns": now_ns, "event": f"worker_{worker.state}", "worker": worker.index})

    def _sample(self, phase: Phase, now_ns: int) -> None:
        bucket = now_ns // BUCKET_NS
        if bucket != self.sampled and 0 <= bucket < phase.samples.shape[1]:
            self.sampled = bucket
            for server in range(self.servers):
                phase.samples[server, bucket] = self.fleet.in_flight(server)

    def _account_for_dead(self, phase: Phase, worker: WorkerProcess) -> None:
        """Make the records the worker could not: lost, and unsent up to the cut.

        In a closed loop only what it had taken and not handed is unsent.
        """
        assert worker.t_dead_ns is not None
        t_dead_ns = worker.t_dead_ns - phase.origin_ns
        left, cursor = orphans(self.segment, worker.index, t_dead_ns, phase.slo_ns)
        worker.cursor = cursor
        phase.tally.add_rows(left)
        cut_ns = phase.spec.duration_ns if phase.cut_ns is None else phase.cut_ns
        first = 0
        for offsets_ns in phase.spec.chunks():
            slots = np.arange(first, first + len(offsets_ns))
            first += len(offsets_ns)
            mine = (slots % self.segment.workers == worker.index) & (slots >= cursor)
            mine &= offsets_ns <= cut_ns
            if not mine.any():
                continue
            rows = np.zeros(int(mine.sum()), dtype=RECORD)
            rows["slot"] = slots[mine]
            rows["t_sched_ns"] = offsets_ns[mine]
            for name in ("t_taken_ns", "t_sent_ns", "t_first_ns", "t_done_ns"):
                rows[name] = ABSENT_NS
            rows["worker"] = worker.index
            rows["server"] = NO_SERVER
            rows["outcome"] = Outcome.UNSENT
            rows["flags"] = Flag.MADE
            phase.tally.add_rows(rows)


class _Routine:
    """What is done every so often while a phase runs."""

    def __init__(self, phase: Phase, now_ns: int) -> None:
        self.phase = phase
        self.t_release_ns = self.t_progress_ns = now_ns

    def turn(self, now_ns: int) -> None:
        if now_ns - self.t_release_ns >= RELEASE_EVERY_NS:
            self.t_release_ns = now_ns
            self.phase.release()
        if now_ns - self.t_progress_ns >= PROGRESS_EVERY_NS:
            self.t_progress_ns = now_ns - (now_ns - self.t_progress_ns) % PROGRESS_EVERY_NS
            self.phase.progress(self.phase, now_ns)
