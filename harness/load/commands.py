"""Commands that are started at a time of the plan (``--at``), to break something on purpose."""

import subprocess
import time
from collections.abc import Collection, Sequence
from typing import Any

from harness.config import AtCommand
from harness.host import on_cpus

SHELL = "/bin/sh"


class AtCommands:
    """The commands of one run. Times in ns since the run's start.

    Each runs in a session of its own, without input or output, on ``cpus`` (None: those of the
    caller). Its events carry the command as it was given: what writes them takes secrets out.
    """

    def __init__(self, commands: Sequence[AtCommand], cpus: Collection[int] | None = None) -> None:
        self._due = sorted(commands, key=lambda one: one.at_ns)
        self._running: list[tuple[AtCommand, subprocess.Popen[bytes]]] = []
        self._cpus = cpus
        self._origin_ns: int | None = None  # CLOCK_MONOTONIC of the run's start

    def turn(self, now_ns: int) -> list[dict[str, Any]]:
        """Start what is due at ``now_ns`` and see what has ended; their events. Never waits."""
        if not self._due and not self._running:
            return []
        origin_ns = time.monotonic_ns() - now_ns
        # The caller read its clock a moment ago: the earliest origin is the best one.
        self._origin_ns = min(origin_ns, self._origin_ns or origin_ns)
        events = self._ended()
        while self._due and self._due[0].at_ns <= now_ns:
            events.extend(self._start(self._due.pop(0)))
        return events

    def close(self) -> list[dict[str, Any]]:
        """The run is over. What still runs is left alone, and named in an event."""
        if not self._running:
            return []
        events = self._ended()
        for one, _ in self._running:
            events.append(self._event("command_running", one))
        self._running.clear()
        return events

    def _start(self, one: AtCommand) -> list[dict[str, Any]]:
        started = self._event("command", one) | {"at_ns": one.at_ns}
        try:
            with on_cpus(self._cpus):
                process = subprocess.Popen(
                    [SHELL, "-c", one.command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
        except OSError as error:
            failed = {"exit_code": None, "error": error.strerror}
            return [started, self._event("command_ended", one) | failed]
        self._running.append((one, process))
        return [started]

    def _ended(self) -> list[dict[str, Any]]:
        """``exit_code`` is negative after a signal of that number."""
        events = []
        for entry in list(self._running):
            one, process = entry
            if process.poll() is not None:
                self._running.remove(entry)
                code = {"exit_code": process.returncode}
                events.append(self._event("command_ended", one) | code)
        return events

    def _event(self, name: str, one: AtCommand) -> dict[str, Any]:
        assert self._origin_ns is not None
        t_ns = time.monotonic_ns() - self._origin_ns
        return {"t_ns": t_ns, "event": name, "command": one.command}
