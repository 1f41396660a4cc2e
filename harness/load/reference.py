"""The reference transport: the same plan, ring and records over tritonclient's gRPC client."""

import contextlib
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, service_pb2
from tritonclient.utils import (
    InferenceServerException,
    deserialize_bytes_tensor,
    triton_to_np_dtype,
)

from harness._ledger import Ledger
from harness._plan import Plan
from harness._policy import Policy
from harness._response import request_id
from harness._shm import Segment
from harness.records import Outcome, Reason

TURN_NS = 10_000_000
NEVER_NS = 2**63 - 1
REFUSED_PAUSE_NS = 1_000_000
"""A closed loop's, as long as a server is not to be had."""
CLEAR_S = 0.3
STATUS_OF_NAME = {f"StatusCode.{code.name}": int(code.value[0]) for code in grpc.StatusCode}
UNKNOWN = 2
INTERNAL = 13
UNAVAILABLE = 14


Slot = tuple[int, int]
"""Index and t_sched; in a closed loop 0, which says nothing."""


@dataclass
class Completion:
    """What a callback of grpc's thread hands to the loop."""

    generation: int
    entry: int
    t_done_ns: int
    result: Any
    error: InferenceServerException | None


class ReferenceEngine:
    """The methods of ``Engine`` over ``InferenceServerClient.async_infer``.

    t_sent and t_first are absent: the client does not tell them.
    """

    def __init__(
        self,
        segment: Segment,
        ledger: Ledger,
        policy: Policy,
        setup: dict[str, Any],
        body: bytes,
    ) -> None:
        self.segment = segment
        self.ledger = ledger
        self.policy = policy
        self.worker: int = setup["worker"]
        self.workers: int = setup["workers"]
        self.outputs: int = setup["outputs"]
        self.cancel_expired: bool = setup["cancel_expired"]
        self.headers: dict[str, str] = dict(setup["headers"])
        self.clients = [InferenceServerClient(server["url"]) for server in setup["servers"]]
        request = service_pb2.ModelInferRequest.FromString(body)
        self.model, self.version = request.model_name, request.model_version
        self.inputs = infer_inputs(request)
        self.completions: queue.SimpleQueue[Completion] = queue.SimpleQueue()
        self.calls: dict[int, Any] = {}
        self.generation = 0
        self.verdict: tuple[int, tuple[int, ...]] = (-1, ())
        self.stood_still = False
        self.refused = False
        self.paused_until_ns = 0
        self.errors: list[tuple[int, str] | None] = [None] * len(self.clients)

    def calibrate(self, budget_ns: int, oversleeps_ns: Sequence[int]) -> int:
        """This transport sleeps on a queue; there is nothing to calibrate."""
        return 0

    def connect(self, patience_ns: int, required: Sequence[bool]) -> bool:
        """See every required server live, so that its channel is open."""
        for client, needed in zip(self.clients, required, strict=True):
            try:
                live = bool(client.is_server_live(client_timeout=patience_ns / 1e9))
            except InferenceServerException:
                live = False
            if needed and not live:
                return False
        return True

    def settled(self) -> list[int]:
        """One channel per server."""
        return [1] * len(self.clients)

    def connection_report(self) -> list[dict[str, Any]]:
        """As ``Engine.connection_report``; grpc does not tell of its connections."""
        return [
            {
                "connects": 1,
                "losses": 0,
                "first_error_status": error[0] if error else None,
                "first_error_message": error[1][:200] if error else "",
            }
            for error in self.errors
        ]

    def run(self, plan: Plan, prefix: str, origin_ns: int, drain_ns: int) -> str:
        """As ``Engine.run``."""
        ledger, segment = self.ledger, self.segment
        ledger.begin()
        self.generation += 1
        self.errors = [None] * len(self.clients)
        self.verdict = (-1, ())
        self.refused, self.paused_until_ns = False, 0
        for server in range(len(self.clients)):  # grpc does not tell when it is not
            segment.connect(self.worker, server, 1)
        how = "done"
        upcoming = plan.next_share(self.worker, self.workers)
        planned_ns = 0
        while True:
            now_ns = self.alive(origin_ns)
            segment.turned(self.worker, now_ns - max(planned_ns, 0))
            self.see_verdict(origin_ns)
            upcoming = self.take_due(plan, upcoming, now_ns, prefix, origin_ns)
            now_ns = self.alive(origin_ns)
            end_ns = min(plan.duration_ns, segment.cut_ns()) + drain_ns
            while (entry := ledger.first_waiting()) is not None:
                if not self.offer(entry, prefix, origin_ns):
                    break
                ledger.next_waiting()
            if self.stood_still:  # read what came meanwhile before anything is judged overdue
                self.wait(0, origin_ns)
            ledger.tick(now_ns)
            while (entry := ledger.expire_next(now_ns)) is not None:
                if self.cancel_expired:
                    self.calls[entry].cancel()
            due_ns = self.due_ns(plan, upcoming, now_ns)
            ledger.publish(now_ns, now_ns if plan.closed and upcoming else due_ns)
            if (upcoming is None and ledger.live == 0) or now_ns >= end_ns:
                break
            if upcoming is None and segment.cancelled():
                how = "cancelled"
                break
            planned_ns = min(end_ns, now_ns + TURN_NS, ledger.next_deadline_ns())
            if due_ns is not None:
                planned_ns = min(planned_ns, due_ns)
            ledger.expect(max(now_ns, planned_ns))
            self.wait((planned_ns - now_ns) / 1e9, origin_ns)
        now_ns = time.monotonic_ns() - origin_ns
        ledger.tick(now_ns)
        ledger.abandon(now_ns)
        ledger.publish(now_ns, None)
        self.clear(origin_ns)
        return how

    def alive(self, origin_ns: int) -> int:
        """The time; the ledger is told that the worker runs."""
        now_ns = time.monotonic_ns() - origin_ns
        self.stood_still |= self.ledger.alive(now_ns)
        return now_ns

    def take_due(
        self, plan: Plan, upcoming: Slot | None, now_ns: int, prefix: str, origin_ns: int
    ) -> Slot | None:
        """Come to every slot that is due; the one after them, None after the last or the cut."""
        while (due_ns := self.due_ns(plan, upcoming, now_ns)) is not None and due_ns <= now_ns:
            assert upcoming is not None
            entry = self.ledger.take(upcoming[0], due_ns, now_ns)
            if entry is not None and (
                self.ledger.waiting or not self.offer(entry, prefix, origin_ns)
            ):
                self.ledger.wait(entry)
            if self.refused:
                self.paused_until_ns = now_ns + REFUSED_PAUSE_NS
            upcoming = plan.next_share(self.worker, self.workers)
            now_ns = self.alive(origin_ns)
        return None if due_ns is None else upcoming

    def due_ns(self, plan: Plan, upcoming: Slot | None, now_ns: int) -> int | None:
        """When the next slot is due, NEVER_NS while a closed loop is full; None: there is none."""
        cut_ns = self.segment.cut_ns()
        if upcoming is None:
            return None
        if not plan.closed:
            return upcoming[1] if upcoming[1] <= cut_ns else None
        if now_ns > cut_ns or now_ns >= plan.duration_ns:
            return None
        if (
            self.ledger.waiting
            or sum(map(self.ledger.in_flight, self.verdict[1])) >= self.ledger.cap
        ):
            return NEVER_NS
        return max(now_ns, self.paused_until_ns)

    def see_verdict(self, origin_ns: int) -> None:
        """Load the verdict; of a new one the worker writes back when it saw it."""
        verdict = self.segment.verdict()
        if verdict != self.verdict:
            self.verdict = verdict
            self.ledger.set_active(verdict[1][0])
            self.segment.see(self.worker, verdict[0], time.monotonic_ns() - origin_ns)

    def offer(self, entry: int, prefix: str, origin_ns: int) -> bool:
        """Hand the slot to the server whose turn it is; False: it has to wait."""
        self.see_verdict(origin_ns)
        epoch, in_use = self.verdict
        in_flight = [self.ledger.in_flight(server) for server in range(len(self.clients))]
        server = self.policy.pick(in_use, in_flight, self.ledger.cap)
        self.ledger.set_active(self.policy.turn)
        if server is None:
            return False
        self.policy.took(server)
        self.ledger.hand(entry, server, epoch)
        generation = self.generation

        def done(result: Any, error: InferenceServerException | None) -> None:
            t_done_ns = time.monotonic_ns() - origin_ns
            self.completions.put(Completion(generation, entry, t_done_ns, result, error))

        self.calls[entry] = self.clients[server].async_infer(
            self.model,
            self.inputs,
            done,
            model_version=self.version,
            request_id=request_id(prefix, self.ledger.slot(entry)).decode(),
            headers=self.headers,
        )
        self.expected = prefix
        return True

    def wait(self, timeout_s: float, origin_ns: int) -> None:
        """Take completions over until the time is up or none is left."""
        completion = None
        with contextlib.suppress(queue.Empty):
            completion = self.completions.get(timeout=max(0.0, timeout_s))
        # Before any answer is booked: a worker that stood still cannot tell when it came.
        self.alive(origin_ns)
        self.stood_still = False
        while completion is not None:
            self.complete(completion)
            completion = None
            with contextlib.suppress(queue.Empty):
                completion = self.completions.get_nowait()

    def complete(self, completion: Completion) -> None:
        """End the slot of one completed call."""
        if completion.generation != self.generation:
            return
        entry = completion.entry
        del self.calls[entry]
        outcome, reason, status = Outcome.ERROR, Reason.NONE, INTERNAL
        if completion.error is not None:
            reason = Reason.GRPC_STATUS
            status = STATUS_OF_NAME.get(str(completion.error.status()), UNKNOWN)
            server = self.ledger.server(entry)
            if self.errors[server] is None:
                self.errors[server] = (status, str(completion.error.message()))
            # A missing connection and a server's own UNAVAILABLE look the same in grpc.
            self.refused = status == UNAVAILABLE
        else:
            self.refused = False
            response = completion.result.get_response()
            self.ledger.received(entry, response.ByteSize())
            if response.id != request_id(self.expected, self.ledger.slot(entry)).decode():
                reason = Reason.WRONG_ID
            elif len(response.outputs) < self.outputs:
                reason = Reason.INVALID_RESPONSE
            else:
                outcome, status = Outcome.OK, 0
        self.ledger.finish(entry, outcome, reason, status, completion.t_done_ns)

    def clear(self, origin_ns: int) -> None:
        """Cancel the calls whose slots are booked already."""
        for call in list(self.calls.values()):
            call.cancel()
        end_s = time.monotonic() + CLEAR_S
        while self.calls and time.monotonic() < end_s:
            self.wait(end_s - time.monotonic(), origin_ns)
        self.calls.clear()


def infer_inputs(request: Any) -> list[InferInput]:
    """The tensors of a serialized request, as tritonclient takes them."""
    inputs = []
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        one = InferInput(tensor.name, list(tensor.shape), tensor.datatype)
        if tensor.datatype == "BYTES":
            values = deserialize_bytes_tensor(raw)
        elif tensor.datatype == "BF16":
            values = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        else:
            values = np.frombuffer(raw, triton_to_np_dtype(tensor.datatype))
        one.set_data_from_numpy(values.reshape(list(tensor.shape)))
        inputs.append(one)
    return inputs
