"""The worker processes of a run: started, watched, ended."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Self

from harness._shm import Segment
from harness._tally import Tally
from harness.errors import NotStartedError
from harness.load.channel import Channel, ChannelClosed

READY_S = 30.0
STOP_S = 2.0


@dataclass
class WorkerReport:
    """One worker process, as the coordinator saw it."""

    index: int
    pid: int
    cpu: int | None
    slots: int  # final records, made ones included
    taken: int  # slots it came to
    pushed: int  # ring records
    popped: int
    overflowed: int
    cpu_s: float | None
    max_loop_gap_ns: int
    loop_turns: int
    max_rss_bytes: int | None
    in_flight_max: list[int]  # per server
    state: str  # "finished", "died" or "hung"
    connections: list[dict[str, Any]] = field(default_factory=list)


class WorkerProcess:
    """One worker: its process, its control pipe, and what it has said."""

    def __init__(self, index: int, cpu: int | None, segment: Segment, body_fd: int) -> None:
        self.index = index
        self.cpu = cpu
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        with theirs:
            fds = (theirs.fileno(), segment.fd, body_fd)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "harness.load.worker", *map(str, fds), str(os.getpid())],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                # grpc, in the reference transport, tells stderr of every lost connection.
                env={"GRPC_VERBOSITY": "NONE", **os.environ},
            )
        self.pid = self.process.pid
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:
            self.kill()
            raise
        self.ready: dict[str, Any] = {}
        self.ended: dict[str, Any] | None = None
        self.state = "running"  # then "finished", "died" or "hung"
        self.t_dead_ns: int | None = None  # CLOCK_MONOTONIC
        self.cursor: int | None = None  # of a dead worker: plan index of its first slot not taken

    @property
    def dead(self) -> bool:
        """Whether the process is gone."""
        return bool(select.select([self.pidfd], [], [], 0)[0])

    @property
    def entries_left(self) -> int:
        """Of its in-flight table, after the drain."""
        return int(self.ended["entries_left"]) if self.ended else 0

    def report(self, segment: Segment, servers: int, tally: Tally) -> WorkerReport:
        """What is known of it after a phase."""
        ended = self.ended or {}
        turns, gap_ns = segment.loop(self.index)
        cursor = segment.cursor(self.index) if self.cursor is None else self.cursor
        return WorkerReport(
            index=self.index,
            pid=self.pid,
            cpu=self.cpu,
            slots=int(tally.worker_slots[self.index]),
            taken=len(range(self.index, cursor, segment.workers)),
            pushed=segment.pushed(self.index),
            popped=segment.popped(self.index),
            overflowed=segment.overflowed(self.index),
            cpu_s=ended.get("cpu_s"),
            max_loop_gap_ns=gap_ns,
            loop_turns=turns,
            max_rss_bytes=ended.get("max_rss_bytes"),
            in_flight_max=[segment.in_flight(self.index, server)[1] for server in range(servers)],
            state=self.state,
            connections=ended.get("connections", []),
        )

    def kill(self) -> None:
        """End the process now and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Ask the process to end, make it, and let go of it."""
        self.channel.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
        os.close(self.pidfd)


class Fleet:
    """All workers of a run. ``setups[w]`` is what worker w is told first; see ``worker.serve``."""

    def __init__(self, segment: Segment, body: bytes, setups: list[dict[str, Any]]) -> None:
        self.segment = segment
        self.setups = setups
        self.workers: list[WorkerProcess] = []
        self._body_fd = os.memfd_create("harness-body", os.MFD_CLOEXEC)
        with open(self._body_fd, "wb", closefd=False) as file:
            file.write(body)

    def __enter__(self) -> Self:
        """Start them and wait until all are ready. Raises NotStartedError."""
        try:
            for index, setup in enumerate(self.setups):
                worker = WorkerProcess(index, setup["cpu"], self.segment, self._body_fd)
                self.workers.append(worker)
                worker.channel.send(setup)
            end_s = time.monotonic() + READY_S
            for worker in self.workers:
                worker.ready = self._ready(worker, end_s)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def in_flight(self, server: int) -> int:
        """Requests in flight there now, those of workers that have ended left out."""
        return sum(
            self.segment.in_flight(worker.index, server)[0]
            for worker in self.workers
            if worker.state == "running"
        )

    def wake(self) -> None:
        """Have every worker turn its loop now."""
        for worker in self.workers:
            with contextlib.suppress(ChannelClosed):  # its death is seen through the pidfd
                worker.channel.wake()

    def close(self) -> None:
        """End all workers; none is left when this returns."""
        for worker in self.workers:
            with contextlib.suppress(ChannelClosed):
                worker.channel.send({"stop": True})
        for worker in self.workers:
            if worker.state == "hung":
                worker.process.send_signal(signal.SIGKILL)
            worker.close()
        self.workers.clear()
        os.close(self._body_fd)

    @staticmethod
    def _ready(worker: WorkerProcess, end_s: float) -> dict[str, Any]:
        try:
            message = worker.channel.receive(end_s - time.monotonic())
        except ChannelClosed:
            raise NotStartedError(
                f"worker {worker.index} ended while it was starting, exit {worker.process.poll()}"
            ) from None
        if message is None:
            raise NotStartedError(f"worker {worker.index} was not ready within {READY_S:g} s")
        if "failed" in message:
            raise NotStartedError(f"worker {worker.index} cannot start: {message['failed']}")
        ready: dict[str, Any] = message["ready"]
        return ready
