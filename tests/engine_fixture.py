"""One worker's engine in this process, its phases run and their books checked."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from harness._core import Engine
from harness._ledger import Ledger
from harness._policy import Policy
from harness._shm import Segment
from harness._tally import Tally
from harness.control.address import pack_socket_address
from harness.plan import Plan, PlanSpec
from harness.records import ABSENT_NS, NO_SERVER, RECORD, Decision, Flag, Outcome, Reason

S = 1_000_000_000
MS = 1_000_000
LEAD_NS = 20 * MS
WATCH_S = 30.0
HANDED = (Outcome.OK, Outcome.ERROR, Outcome.TIMEOUT, Outcome.CANCELLED)
BURST = PlanSpec("constant", 2000.0, 1, 10 * MS)
"""20 slots."""

STEADY = PlanSpec("constant", 2000.0, 1, 150 * MS)
"""300 slots."""

CLOSED = PlanSpec("closed", None, 1, 150 * MS)
"""As many slots as there are answers in 150 ms."""

MOST_CLOSED = 1 << 16

Ending = tuple[Outcome, Reason, int]
"""Outcome, reason, gRPC status."""

OK = (Outcome.OK, Reason.NONE, 0)
LOST = (Outcome.ERROR, Reason.CONNECTION_LOST, 14)
NO_CONNECTION = (Outcome.ERROR, Reason.NO_CONNECTION, 14)
REFUSED = (Outcome.ERROR, Reason.STREAM_RESET, 14)
TIMEOUT = (Outcome.TIMEOUT, Reason.NONE, 0)
CANCELLED = (Outcome.CANCELLED, Reason.NONE, 0)
BACKPRESSURE = (Outcome.DROPPED, Reason.BACKPRESSURE, 0)
CLIENT = (Outcome.DROPPED, Reason.CLIENT, 0)


def request_body(size_bytes: int = 64) -> tuple[bytes, int]:
    """A ModelInferRequest with gRPC's prefix, and where its id is: after the data."""
    request = service_pb2.ModelInferRequest(model_name="identity")
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[size_bytes // 4])
    request.raw_input_contents.append(bytes(i % 251 for i in range(size_bytes)))
    tail = service_pb2.ModelInferRequest(id="0" * 16).SerializeToString()
    message = request.SerializeToString() + tail
    return b"\0" + len(message).to_bytes(4, "big") + message, 5 + len(message) - 16


class Load:
    """An engine against servers; ``with`` ends it and hangs up."""

    def __init__(
        self,
        *addresses: tuple[str, int],
        body: tuple[bytes, int] | None = None,
        cap: int = 64,
        table: int = 256,
        slo_ns: int | None = None,
        timeout_ns: int = 10 * S,
        lag_ns: int = 5 * S,
        outputs: int = 1,
        limit_bytes: int = 1 << 20,
        lanes: int = 1,
        worker: int = 0,
        workers: int = 1,
        spin: bool = False,
        cancel_expired: bool = False,
        policy: str = "failover",
        weights: Sequence[int] = (),
    ) -> None:
        self.segment = Segment(workers, 1 << 14, table)
        self.servers, self.worker, self.workers = len(addresses), worker, workers
        self.cap, self.slo_ns = cap, slo_ns
        self.ledger = Ledger(
            self.segment,
            worker,
            servers=len(addresses),
            slo_ns=slo_ns,
            timeout_ns=timeout_ns,
            lag_ns=lag_ns,
            cap=cap,
        )
        self.ours, theirs = socket.socketpair()
        self.theirs = theirs
        data, id_offset = body or request_body()
        self.engine = Engine(
            self.ledger,
            Policy(policy, list(weights) or [1] * len(addresses), worker),
            worker,
            workers,
            control_fd=theirs.fileno(),
            body=data,
            id_offset=id_offset,
            outputs=outputs,
            response_limit_bytes=limit_bytes,
            response_bytes=256,
            endpoints=[
                (pack_socket_address((socket.AF_INET, address)), _fields(address))
                for address in addresses
            ],
            lanes=lanes,
            spin=spin,
            sleeps=not spin,
            shares_cpu=False,
            cancel_expired=cancel_expired,
        )
        self.during: list[tuple[float, Callable[[], None]]] = []
        self.cut_ns: int | None = None
        self.origin_ns = 0  # of the last phase
        self.tally = Tally(1, 1, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self.engine
        self.ours.close()
        self.theirs.close()

    def connect(self, patience_ns: int = 5 * S) -> bool:
        return self.engine.connect(patience_ns, [True] * self.servers)

    def at(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call from another thread that long after the next phase's start."""
        self.during.append((delay_s, call))

    def run(
        self,
        spec: PlanSpec = BURST,
        prefix: str = "s",
        drain_ns: int = 10 * S,
        ends: str = "done",
        lead_ns: int = LEAD_NS,
        limit: int | None = None,
    ) -> NDArray[np.void]:
        """Send a plan; its records, one a slot of this worker, after checking the books.

        ``limit``: slots of a closed loop at most.
        """
        self.segment.reset()
        slots = (limit or MOST_CLOSED) if spec.closed else spec.facts().slots
        rows = np.zeros(slots, dtype=RECORD)
        self.tally = Tally(self.servers, slots, spec.duration_ns, rows)
        timers = [threading.Timer(WATCH_S, self.segment.cancel)]
        timers += [threading.Timer(lead_ns / S + delay_s, call) for delay_s, call in self.during]
        self.during = []
        plan = Plan(spec.dist, spec.rate or 0.0, spec.seed, spec.duration_ns, limit)
        self.origin_ns = time.monotonic_ns() + lead_ns
        for timer in timers:
            timer.start()
        try:
            how = self.engine.run(plan, prefix, self.origin_ns, drain_ns)
        finally:
            timers[0].cancel()
            for timer in timers:
                timer.join()
        self.tally.drain(self.segment, self.worker)
        assert how == ends
        mine = rows[self.worker :: self.workers]
        if spec.closed:
            mine = mine[mine["outcome"] != Outcome.NONE]
            taken = len(range(self.worker, self.segment.cursor(self.worker), self.workers))
            assert len(mine) == taken
            assert np.array_equal(mine["slot"], self.worker + self.workers * np.arange(taken))
            assert np.array_equal(mine["t_sched_ns"], mine["t_taken_ns"])
            self._check_books(mine)
            return mine
        offsets_ns = np.concatenate(
            [np.empty(0, np.int64), *(chunk.copy() for chunk in spec.chunks())]
        )
        if ends == "done" and (self.segment.cut_ns() >= spec.duration_ns):
            assert (mine["outcome"] != Outcome.NONE).all()
        mine = mine[mine["outcome"] != Outcome.NONE]
        assert np.array_equal(mine["t_sched_ns"], offsets_ns[mine["slot"]])
        self._check_books(mine)
        return mine

    def _check_books(self, rows: NDArray[np.void]) -> None:
        segment, tally = self.segment, self.tally
        assert (tally.duplicates, tally.strays, segment.overflowed(self.worker)) == (0, 0, 0)
        assert tally.counts.sum() == len(rows)
        assert self.ledger.entries_used == self.ledger.live == 0
        for server in range(self.servers):
            flying, most = segment.in_flight(self.worker, server)
            assert flying == 0
            assert most <= self.cap
        assert segment.watermark_ns(self.worker) == 2**63 - 1
        handed = np.isin(rows["outcome"], HANDED)
        dropped = rows["outcome"] == Outcome.DROPPED
        assert (handed | dropped).all()
        assert (rows["server"][handed] < self.servers).all()
        client = dropped & (rows["reason"] == Reason.CLIENT)
        assert ((rows["server"] == NO_SERVER) == client).all()
        assert (rows["worker"] == self.worker).all()
        assert (rows["t_taken_ns"] >= rows["t_sched_ns"]).all()
        judged = tally.buckets[:, :, 0].sum()
        assert judged == np.count_nonzero(rows["decision"] != Decision.UNDECIDED)
        answered = rows[rows["outcome"] == Outcome.OK]
        names = ("t_sched_ns", "t_taken_ns", "t_sent_ns", "t_first_ns", "t_done_ns")
        for before, after in itertools.pairwise(names):
            assert (answered[before] <= answered[after]).all(), (before, after)
        unanswered = np.isin(rows["outcome"], (Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.DROPPED))
        assert (rows["t_done_ns"][unanswered] == ABSENT_NS).all()
        if self.slo_ns is None:
            assert not (rows["flags"] & Flag.OVERDUE).any()
            assert (rows["decision"] != Decision.SLOW).all()


def endings(rows: NDArray[np.void]) -> set[Ending]:
    """The different endings among the records."""
    return {
        (Outcome(row["outcome"]), Reason(row["reason"]), int(row["status"]))
        for row in np.unique(rows[["outcome", "reason", "status"]])
    }


def count(rows: NDArray[np.void], ending: Ending) -> int:
    """How many records have this ending."""
    outcome, reason, status = ending
    return np.count_nonzero(
        (rows["outcome"] == outcome) & (rows["reason"] == reason) & (rows["status"] == status)
    )


def _fields(address: Sequence[Any]) -> list[tuple[bytes, bytes]]:
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
        (b":authority", f"{address[0]}:{address[1]}".encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-accept-encoding", b"identity"),
    ]
