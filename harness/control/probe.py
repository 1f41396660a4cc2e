"""Single requests to one server before the load: until an answer is good enough, then the path."""

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from harness._response import request_id
from harness.config import NS_PER_S, BenchConfig
from harness.control.client import CallError, ControlClient
from harness.control.inputs import PROBE_PREFIX, Payload
from harness.control.response import response_fault
from harness.control.signature import Signature
from harness.errors import NotStartedError
from harness.units import format_duration_ns, format_latency_ms

PROBE_PAUSE_S = 0.01
PATH_FLOOR_CALLS = 200
PATH_FLOOR_S = 0.3
"""A server that is slow to answer is asked less often."""

PASSING_CODES = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})
"""Statuses a probe may get while a server warms up; any other ends the preflight."""


@dataclass(frozen=True)
class PathFloor:
    """The median time of ``calls`` empty calls."""

    median_ns: int
    calls: int


@dataclass(frozen=True)
class Probed:
    """What the probes found; the latency is that of the probe that was good enough."""

    probes: int
    latency_ns: int
    response_bytes: int
    path_floor: PathFloor


def probe(
    client: ControlClient,
    signature: Signature,
    config: BenchConfig,
    payload: Payload,
    probe_limit_s: float,
    stop: threading.Event,
    on_note: Callable[[str], None],
) -> Probed:
    """Single requests until one is within the SLO (without one: answers), then the path floor.

    Raises NotStartedError: none was in ``probe_limit_s``, or an answer that no waiting would mend.
    """
    url = client.url
    t_end_s = time.monotonic() + probe_limit_s
    best_ns: int | None = None
    refusal: CallError | None = None
    probes = 0
    while probes == 0 or (not stop.is_set() and time.monotonic() < t_end_s):
        probe_id = request_id(PROBE_PREFIX, probes)
        message = payload.with_id(probe_id)
        probes += 1
        deadline_s = min(config.timeout_ns / NS_PER_S, max(0.1, t_end_s - time.monotonic()))
        t_sent_ns = time.monotonic_ns()
        try:
            raw = client.infer_bytes(message, config.model, deadline_s)
        except CallError as error:
            if error.code not in PASSING_CODES:
                raise
            refusal = error
            stop.wait(PROBE_PAUSE_S)
            continue
        latency_ns = time.monotonic_ns() - t_sent_ns
        _check_response(url, raw, signature, probe_id)
        best_ns = latency_ns if best_ns is None else min(best_ns, latency_ns)
        if config.slo is None or latency_ns <= config.slo.threshold_ns:
            return Probed(probes, latency_ns, len(raw), path_floor(client))
        if probes == 1:
            on_note(
                f"server {url} took {format_latency_ms(latency_ns)} ms, over the SLO:"
                f" probing it until it is within, {probe_limit_s:g} s at most"
            )
        stop.wait(PROBE_PAUSE_S)
    if best_ns is None or config.slo is None:
        raise refusal or NotStartedError(f"server {url} answered no probe")
    raise NotStartedError(
        f"server {url} answered no single request within the SLO of"
        f" {format_duration_ns(config.slo.threshold_ns)} in {probe_limit_s:g} s; the best of"
        f" {probes} took {format_latency_ms(best_ns)} ms"
    )


def _check_response(url: str, raw: bytes, signature: Signature, probe_id: bytes) -> None:
    response = service_pb2.ModelInferResponse()
    try:
        response.ParseFromString(raw)
    except DecodeError:
        raise NotStartedError(
            f"server {url} answered a probe with {len(raw)} bytes that are no ModelInferResponse"
        ) from None
    fault = response_fault(response, signature, probe_id)
    if fault is not None:
        raise NotStartedError(f"server {url}: the response to a probe {fault}")


def path_floor(client: ControlClient) -> PathFloor:
    """What the network and gRPC take without a model. Raises NotStartedError."""
    t_end_s = time.monotonic() + PATH_FLOOR_S
    times_ns: list[int] = []
    while not times_ns or (len(times_ns) < PATH_FLOOR_CALLS and time.monotonic() < t_end_s):
        t_sent_ns = time.monotonic_ns()
        client.live()
        times_ns.append(time.monotonic_ns() - t_sent_ns)
    return PathFloor(int(statistics.median(times_ns)), len(times_ns))
