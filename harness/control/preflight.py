"""What holds before any load is sent: servers ready, signatures matching, answers good."""

import dataclasses
import hashlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.config import BenchConfig
from harness.control.address import SocketAddress, UnresolvedError, parse_address
from harness.control.client import ControlClient
from harness.control.inputs import Payload, build_payload, request_shapes
from harness.control.probe import Probed, probe
from harness.control.signature import Signature
from harness.errors import NotStartedError, UsageError
from harness.untrusted import clean_text

PROBE_LIMIT_S = 60.0
MAX_EXTENSIONS = 64

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class ServerFacts:
    """One server as found. ``probe_latency_ns`` is that of the probe that was good enough,
    ``path_floor_ns`` the median of ``path_floor_calls`` empty calls: network, gRPC on both sides,
    and our Python. ``missing`` says why it is not fit to start with, None if it is; nothing else
    is known then but where its sockets are."""

    url: str
    sockaddrs: tuple[SocketAddress, ...]
    name: str = ""
    version: str = ""
    extensions: tuple[str, ...] = ()
    model_version: str = ""
    platform: str = ""
    config_sha256: str = ""
    probes: int = 0
    probe_latency_ns: int | None = None
    path_floor_ns: int | None = None
    path_floor_calls: int = 0
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

    @property
    def present(self) -> tuple[ServerFacts, ...]:
        """The servers that are not missing; one at least."""
        return tuple(server for server in self.servers if server.missing is None)


@dataclass(frozen=True)
class _Contact:
    client: ControlClient
    name: str
    version: str
    extensions: tuple[str, ...]
    signature: Signature
    config_sha256: str


class MisfitError(NotStartedError):
    """A server is there, but with a model that this load could never be sent to."""


def preflight(
    config: BenchConfig,
    probe_limit_s: float = PROBE_LIMIT_S,
    on_note: Callable[[str], None] = lambda text: None,
) -> Preflight:
    """Checks every server of ``config.urls`` at once and builds the request they will be sent.

    With ``require`` "any" a server that is down, not ready or too slow is missing from the start;
    one must be fit. Raises NotStartedError or UsageError; of several servers', that of the first in
    order. A server that is slow to answer within the SLO is probed for ``probe_limit_s`` at most.
    """
    addresses = [parse_address(url) for url in config.urls]
    if not addresses:
        raise UsageError("no server given; write -u host:port")
    for index, address in enumerate(addresses):
        if address in addresses[:index]:
            raise UsageError(f"server {address.canonical} is given twice; name each once")
    clients = [ControlClient(address, config.headers) for address in addresses]
    stop = threading.Event()

    def ask(contact: _Contact) -> Probed:
        client, signature = contact.client, contact.signature
        return probe(client, signature, config, payload, probe_limit_s, stop, on_note)

    try:
        contacts = _each(dict(enumerate(clients)), lambda client: _contact(client, config))
        met = _fit(contacts, config)
        first = next(iter(met.values()))
        _check_match(tuple(met.values()))
        payload = build_payload(first.signature, config)
        for contact in met.values():
            request_shapes(contact.signature, config)  # its own max_batch_size
        found = {
            **{index: one for index, one in contacts.items() if isinstance(one, NotStartedError)},
            **_each(met, ask),
        }
        probed = _fit(found, config)
    finally:
        stop.set()
        for client in clients:
            client.close()
    seen_bytes = max(one.response_bytes for one in probed.values())
    payload = dataclasses.replace(
        payload, response_bytes_estimate=max(payload.response_bytes_estimate, seen_bytes)
    )
    facts = []
    for index, client in enumerate(clients):
        one = found[index]
        if isinstance(one, NotStartedError):
            on_note(f"starting without it: {one}")
            facts.append(ServerFacts(client.url, client.sockaddrs, missing=str(one)))
        else:
            facts.append(_facts(met[index], one))
    return Preflight(met[min(probed)].signature, payload, tuple(facts))


def _fit(
    outcomes: Mapping[int, ResultT | NotStartedError], config: BenchConfig
) -> dict[int, ResultT]:
    """The servers to start with, by index. Raises the first server's error that forbids a start."""
    fit = {i: one for i, one in outcomes.items() if not isinstance(one, NotStartedError)}
    any_fits = config.switching.require == "any" and bool(fit)
    for index in sorted(outcomes):
        one = outcomes[index]
        if isinstance(one, UnresolvedError | MisfitError) or (
            isinstance(one, NotStartedError) and not any_fits
        ):
            raise one
    return fit


def _facts(contact: _Contact, probed: Probed) -> ServerFacts:
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
        path_floor_ns=probed.path_floor.median_ns,
        path_floor_calls=probed.path_floor.calls,
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
        raise MisfitError(f"server {client.url}: {error}") from None
    if signature.decoupled:
        raise MisfitError(
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


def _each(
    items: Mapping[int, ItemT], work: Callable[[ItemT], ResultT]
) -> dict[int, ResultT | NotStartedError]:
    """``work`` on every item at once: its result or what kept the server from starting, by index.

    Raises any other error. The threads are daemons: an interrupt ends the wait, and closing the
    clients ends them.
    """
    done: queue.SimpleQueue[tuple[int, ResultT | BaseException]] = queue.SimpleQueue()

    def run(index: int, item: ItemT) -> None:
        try:
            done.put((index, work(item)))
        except BaseException as error:
            done.put((index, error))

    for index, item in items.items():
        threading.Thread(target=run, args=(index, item), name="preflight", daemon=True).start()
    outcomes: dict[int, ResultT | NotStartedError] = {}
    for _ in items:
        index, outcome = done.get()
        if isinstance(outcome, BaseException) and not isinstance(outcome, NotStartedError):
            raise outcome
        outcomes[index] = outcome
    return dict(sorted(outcomes.items()))
