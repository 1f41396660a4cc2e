"""One worker process: ``python -m harness.load.worker CONTROL_FD SEGMENT_FD BODY_FD PARENT_PID``.

Started by the coordinator alone. It pins itself, sets up its transport, and then sends the plans
it is told to over the control pipe.
"""

import contextlib
import ctypes
import mmap
import os
import resource
import signal
import socket
import sys
from typing import Any

from harness._clock import oversleeps_ns
from harness._core import Engine
from harness._ledger import Ledger
from harness._plan import Plan
from harness._policy import Policy
from harness._shm import Segment
from harness.load.channel import Channel, ChannelClosed

PR_SET_PDEATHSIG = 1
CALIBRATION_NS = 20_000_000


def main(arguments: list[str]) -> None:
    """Serve the coordinator until it says stop or is gone."""
    control_fd, segment_fd, body_fd, parent_pid = map(int, arguments)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=control_fd))
    with contextlib.suppress(ChannelClosed):
        setup = channel.receive(None)
        if setup is None:
            return
        try:
            serve(channel, setup, segment_fd, body_fd)
        except (OSError, MemoryError, ValueError, OverflowError) as error:
            channel.send({"failed": str(error) or type(error).__name__})


def serve(channel: Channel, setup: dict[str, Any], segment_fd: int, body_fd: int) -> None:
    """Set up by ``setup``, then obey. Raises ChannelClosed when the coordinator is gone."""
    if setup["cpu"] is not None:
        os.sched_setaffinity(0, {setup["cpu"]})
    worker, workers = setup["worker"], setup["workers"]
    segment = Segment(workers, setup["ring_capacity"], setup["table_capacity"], segment_fd)
    ledger = Ledger(
        segment,
        worker,
        servers=len(setup["servers"]),
        slo_ns=setup["slo_ns"],
        timeout_ns=setup["timeout_ns"],
        lag_ns=setup["lag_ns"],
        cap=setup["cap"],
    )
    body = whole(body_fd)
    policy = Policy(setup["policy"], setup["weights"], worker)
    engine = make_engine(setup, segment, ledger, policy, body, channel.fileno())
    guard_ns = engine.calibrate(setup["guard_budget_ns"], oversleeps_ns(CALIBRATION_NS))
    engine.connect(setup["connect_ns"], setup["required"])
    channel.send({"ready": {"settled": engine.settled(), "guard_ns": guard_ns}})
    while (message := channel.receive(None)) is not None and "run" in message:
        run = message["run"]
        plan = Plan(run["dist"], run["rate"], run["seed"], run["duration_ns"])
        before_s = cpu_s()
        how = engine.run(plan, run["prefix"], run["origin_ns"], run["drain_ns"])
        channel.send(
            {
                "ended": {
                    "how": how,
                    "cpu_s": cpu_s() - before_s,
                    "max_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                    "connections": engine.connection_report(),
                    "entries_left": ledger.entries_used,
                }
            }
        )


def whole(fd: int) -> bytes:
    """All of a file."""
    # The workers share one file position: what two of them read at a time would be torn.
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as memory:
        return memory[:]


def make_engine(
    setup: dict[str, Any],
    segment: Segment,
    ledger: Ledger,
    policy: Policy,
    body: bytes,
    control_fd: int,
) -> Any:
    """The transport asked for; both have the methods of ``Engine``."""
    if setup["transport"] == "tritonclient":
        # grpc is imported by this transport alone.
        from harness.load.reference import ReferenceEngine

        return ReferenceEngine(segment, ledger, policy, setup, body)
    return Engine(
        ledger,
        policy,
        setup["worker"],
        setup["workers"],
        control_fd=control_fd,
        body=b"\0" + len(body).to_bytes(4, "big") + body,
        id_offset=5 + setup["id_offset"],
        outputs=setup["outputs"],
        response_limit_bytes=setup["response_limit_bytes"],
        response_bytes=setup["response_bytes"],
        endpoints=[
            (
                bytes.fromhex(server["sockaddr"]),
                [(name.encode(), value.encode()) for name, value in server["fields"]],
            )
            for server in setup["servers"]
        ],
        lanes=setup["connections"],
        spin=setup["spin"],
        sleeps=setup["sleeps"],
        shares_cpu=setup["shares_cpu"],
        cancel_expired=setup["cancel_expired"],
    )


def cpu_s() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
