"""What holds before any load is sent: servers ready, signatures matching, answers good."""

import dataclasses
import hashlib
import queue
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from harness._response import request_id
from harness.config import NS_PER_S, BenchConfig
from harness.control.address import SocketAddress, parse_address
from harness.control.client import CallError, ControlClient
from harness.control.inputs import PROBE_PREFIX, Payload, build_payload, request_shapes
from harness.control.response import response_fault
from harness.control.signature import Signature
from harness.errors import HarnessError, NotStartedError, UsageError
from harness.units import format_duration_ns, format_latency_ms
from harness.untrusted import clean_text

PROBE_LIMIT_S = 60.0
PROBE_PAUSE_S = 0.01
PATH_FLOOR_CALLS = 50
MAX_EXTENSIONS = 64

PASSING_CODES = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})
"""Statuses a probe may get while a server warms up; any other ends the preflight."""

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class ServerFacts:
    """One server as found. ``probe_latency_ns`` is that of the probe that was good enough,
    ``path_floor_ns`` the median of empty calls: network, gRPC on both sides, and our Python."""

    url: str
    sockaddrs: tuple[SocketAddress, ...]
    name: str
    version: str
    extensions: tuple[str, ...]
    model_version: str
    platform: str
    config_sha256: str
    probes: int
    probe_latency_ns: int
    path_floor_ns: int
    missing: str | None = None

    def known(self) -> dict[str, Any]:
        """The facts for results; where its sockets are is nobody's business there."""
        facts = dataclasses.asdict(self)
        del facts["sockaddrs"]
        return facts


@dataclass(frozen=True)
class Preflight:
    """What a run starts from. ``servers`` in the order of ``config.urls``."""

    signature: Signature
    payload: Payload
    servers: tuple[ServerFacts, ...]


@dataclass(frozen=True)
class _Contact:
    client: ControlClient
    name: str
    version: str
    extensions: tuple[str, ...]
    signature: Signature
    config_sha256: str


@dataclass(frozen=True)
class _Probed:
    probes: int
    latency_ns: int
    response_bytes: int
    path_floor_ns: int
    missing: str | None = None


def preflight(
    config: BenchConfig,
    probe_limit_s: float = PROBE_LIMIT_S,
    on_note: Callable[[str], None] = lambda text: None,
) -> Preflight:
    """Checks every server of ``config.urls`` at once and builds the request they will be sent.

    Raises NotStartedError or UsageError; of several servers', that of the first in order. A server
    that is slow to answer within the SLO is probed for ``probe_limit_s`` at most.
    """
    addresses = [parse_address(url) for url in config.urls]
    if not addresses:
        raise UsageError("no server given; write -u host:port")
    for index, address in enumerate(addresses):
        if address in addresses[:index]:
            raise UsageError(f"server {address.canonical} is given twice; name each once")
    clients = [ControlClient(address, config.headers) for address in addresses]
    stop = threading.Event()
    try:
        contacts = _each(clients, lambda client: _contact(client, config))
        signature = contacts[0].signature
        _check_match(contacts)
        payload = build_payload(signature, config)
        for contact in contacts[1:]:
            request_shapes(contact.signature, config)  # its own max_batch_size
        probed = _each(
            contacts, lambda contact: _probe(contact, config, payload, probe_limit_s, stop, on_note)
        )
    finally:
        stop.set()
        for client in clients:
            client.close()
    seen_bytes = max(one.response_bytes for one in probed)
    payload = dataclasses.replace(
        payload, response_bytes_estimate=max(payload.response_bytes_estimate, seen_bytes)
    )
    facts = (_facts(contact, one) for contact, one in zip(contacts, probed, strict=True))
    return Preflight(signature, payload, tuple(facts))


def _facts(contact: _Contact, probed: _Probed) -> ServerFacts:
    return ServerFacts(
        url=contact.client.url,
        sockaddrs=contact.client.sockaddrs,
        name=contact.name,
        version=contact.version,
        extensions=contact.extensions,
        model_version=clean_text(contact.signature.version, 60),
        platform=clean_text(contact.signature.platform, 60),
        config_sha256=contact.config_sha256,
        probes=probed.probes,
        probe_latency_ns=probed.latency_ns,
        path_floor_ns=probed.path_floor_ns,
    )


def _contact(client: ControlClient, config: BenchConfig) -> _Contact:
    model, version = config.model, config.model_version
    shown = clean_text(model, 60)
    client.connect()
    if not client.ready():
        raise NotStartedError(f"server {client.url} is live but not ready; wait until it is")
    server = client.server_metadata()
    metadata = client.model_metadata(model, version)
    if not client.model_ready(model, version):
        raise NotStartedError(f"server {client.url}: model '{shown}' is not ready")
    model_config = client.model_config(model, version)
    try:
        signature = Signature.from_protobuf(metadata, model_config, version)
    except NotStartedError as error:
        raise NotStartedError(f"server {client.url}: {error}") from None
    if signature.decoupled:
        raise NotStartedError(
            f"server {client.url}: model '{shown}' is decoupled (it streams its responses),"
            " which is not supported"
        )
    return _Contact(
        client=client,
        name=clean_text(server.name, 60),
        version=clean_text(server.version, 60),
        extensions=tuple(clean_text(one, 60) for one in server.extensions[:MAX_EXTENSIONS]),
        signature=signature,
        config_sha256=hashlib.sha256(
            model_config.SerializeToString(deterministic=True)
        ).hexdigest(),
    )


def _check_match(contacts: Sequence[_Contact]) -> None:
    first = contacts[0]
    for other in contacts[1:]:
        difference = first.signature.difference(other.signature)
        if difference is not None:
            raise NotStartedError(
                f"servers {first.client.url} and {other.client.url} do not match:"
                f" on the second, {difference}"
            )


def _probe(
    contact: _Contact,
    config: BenchConfig,
    payload: Payload,
    probe_limit_s: float,
    stop: threading.Event,
    on_note: Callable[[str], None],
) -> _Probed:
    """Single requests until one is within the SLO (without one: answers), then the path floor."""
    url = contact.client.url
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
            raw = contact.client.infer_bytes(message, config.model, deadline_s)
        except CallError as error:
            if error.code not in PASSING_CODES:
                raise
            refusal = error
            stop.wait(PROBE_PAUSE_S)
            continue
        latency_ns = time.monotonic_ns() - t_sent_ns
        _check_response(url, raw, contact.signature, probe_id)
        best_ns = latency_ns if best_ns is None else min(best_ns, latency_ns)
        if config.slo is None or latency_ns <= config.slo.threshold_ns:
            return _Probed(probes, latency_ns, len(raw), _path_floor_ns(contact.client))
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


def _path_floor_ns(client: ControlClient) -> int:
    times_ns = []
    for _ in range(PATH_FLOOR_CALLS):
        t_sent_ns = time.monotonic_ns()
        client.live()
        times_ns.append(time.monotonic_ns() - t_sent_ns)
    return int(statistics.median(times_ns))


ItemT = TypeVar("ItemT")


def _each(items: Sequence[ItemT], work: Callable[[ItemT], ResultT]) -> list[ResultT]:
    """``work`` on every item at once; the results in order, or the first item's error.

    The threads are daemons: an interrupt ends the wait, and closing the clients ends them.
    """
    done: queue.SimpleQueue[tuple[int, ResultT | None, BaseException | None]] = queue.SimpleQueue()

    def run(index: int, item: ItemT) -> None:
        try:
            done.put((index, work(item), None))
        except BaseException as error:
            done.put((index, None, error))

    for index, item in enumerate(items):
        threading.Thread(target=run, args=(index, item), name="preflight", daemon=True).start()
    results: dict[int, ResultT] = {}
    errors: dict[int, BaseException] = {}
    for _ in items:
        index, result, error = done.get()
        if error is not None:
            errors[index] = error
        else:
            results[index] = result  # type: ignore[assignment]
    if errors:
        # A bug in ours before a server's fault: it must not hide behind one.
        raise next(
            (error for error in errors.values() if not isinstance(error, HarnessError)),
            errors[min(errors)],
        )
    return [results[index] for index in range(len(items))]
