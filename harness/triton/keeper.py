"""Runs tritonserver for a process that may die, and leaves nothing behind when either ends.

Started as a script (standard library only, so that it starts at once), with a JSON object on its
standard input: ``argv``, ``env``, ``parent_pid``, ``shm_prefix``, ``cpus`` or null,
``address_space_bytes`` or null, ``grace_s``. A further byte there, its end, or SIGTERM mean stop.
It writes one JSON line: ``pid`` of the server, or ``error``.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SHM_DIR = Path("/dev/shm")


def main() -> int:
    """Keep one server from its start to its end."""
    order = _order()
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    # Orphaned backend stubs come to this process, which ends and reaps them.
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    stop_read, stop_write = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.close(stop_write))
    try:
        parent = os.pidfd_open(order["parent_pid"])
    except ProcessLookupError:
        return 0
    if os.getppid() != order["parent_pid"]:
        return 0
    try:
        server = subprocess.Popen(
            order["argv"],
            env=order["env"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=2,
            process_group=0,
            preexec_fn=_limits(order, prctl),  # noqa: PLW1509  this process has one thread
        )
    except (OSError, subprocess.SubprocessError) as error:
        _tell({"error": str(error)})
        return 1
    try:
        _tell({"pid": server.pid})
        _keep(server, parent, stop_read, order["grace_s"])
    finally:
        _end(server)
        _remove_segments(order["shm_prefix"])
    return 0


def _order() -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 65536)
        if not part:
            sys.exit(0)
        line += part
    order: dict[str, Any] = json.loads(line)
    return order


def _limits(order: dict[str, Any], prctl: Any) -> Callable[[], None]:
    def apply() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if order["cpus"]:
            os.sched_setaffinity(0, order["cpus"])
        limit = order["address_space_bytes"]
        if limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return apply


def _keep(server: subprocess.Popen[bytes], parent: int, stop: int, grace_s: float) -> None:
    """Return once the server is dead or has to be killed."""
    pidfd = os.pidfd_open(server.pid)
    ready, _, _ = select.select([pidfd, parent, stop, 0], [], [])
    if parent in ready or pidfd in ready:
        return
    # A paused server acts on SIGTERM only once it runs again.
    os.killpg(server.pid, signal.SIGCONT)
    server.terminate()
    select.select([pidfd, parent], [], [], grace_s)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Kill the server and its stubs, and reap them."""
    # The stubs share the server's group; unreaped, it holds the group's id for them alone.
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.002)
        except ChildProcessError:
            break


def _remove_segments(prefix: str) -> None:
    for path in SHM_DIR.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)


def _tell(message: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
