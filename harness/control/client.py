"""The control plane: a server's readiness, metadata, configuration and statistics over grpcio.

Importing this module imports grpc; workers of the native transport never do.
"""

import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError
from pydantic import SecretStr
from tritonclient.grpc import service_pb2

from harness.control.address import Address, SocketAddress, resolve
from harness.control.greeting import greet
from harness.control.headers import check_headers, redact
from harness.errors import NotStartedError
from harness.units import format_bytes
from harness.untrusted import clean_text

CALL_DEADLINE_S = 3.0
MAX_RECEIVE_BYTES = 64 * 2**20
MAX_SEND_BYTES = 2**31 - 1


class _Message(Protocol):
    def ParseFromString(self, serialized: bytes) -> object: ...
    def SerializeToString(self) -> bytes: ...


MessageT = TypeVar("MessageT", bound=_Message)


class CallError(NotStartedError):
    """A call the server answered with a status other than OK. ``code`` is the status's name."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class ControlClient:
    """One server's control plane. Every call has a deadline and fails with NotStartedError.

    Calls may come from several threads. ``sockaddrs`` are the server's socket addresses once its
    name is resolved; when ``connect`` has returned, the one in use first.
    """

    def __init__(
        self,
        address: Address,
        headers: Sequence[tuple[str, SecretStr]] = (),
        deadline_s: float = CALL_DEADLINE_S,
    ) -> None:
        """Connects to nothing yet. Raises UsageError for headers that cannot be sent."""
        self.url = address.canonical
        self.sockaddrs: tuple[SocketAddress, ...] = ()
        self._address = address
        self._headers = check_headers(headers)
        self._deadline_s = deadline_s
        self._channel: Any = None
        self._connecting = threading.Lock()

    def connect(self) -> None:
        """Resolves, connects and sees the server live, all within the one deadline.

        Other calls do this first by themselves.
        """
        with self._connecting:
            if self._channel is not None:
                return
            t_end_s = time.monotonic() + self._deadline_s
            self.sockaddrs = found = resolve(self._address, self._deadline_s)
            in_use = greet(self.url, found, t_end_s)
            self.sockaddrs = (in_use, *(one for one in found if one != in_use))
            channel = grpc.insecure_channel(
                _grpc_target(in_use),
                options=(
                    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
                    ("grpc.max_send_message_length", MAX_SEND_BYTES),
                    ("grpc.default_authority", self.url),
                    # The load goes to the server itself; so must what is asked about it.
                    ("grpc.enable_http_proxy", 0),
                    ("grpc.enable_retries", 0),
                    ("grpc.use_local_subchannel_pool", 1),
                ),
            )
            try:
                left_s = max(0.1, t_end_s - time.monotonic())
                reply = self._invoke(channel, "ServerLive", b"", left_s)
                answer = self._parse("ServerLive", reply, service_pb2.ServerLiveResponse())
                if not answer.live:
                    raise NotStartedError(f"server {self.url} says it is not live")
            except BaseException:
                channel.close()
                raise
            self._channel = channel

    def close(self) -> None:
        """Closes the connection; calls under way end with an error.

        A connect under way in another thread is not waited for: it would hold up an interrupt.
        """
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def __enter__(self) -> "ControlClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def live(self) -> bool:
        """Whether the server says it is live."""
        request, reply = service_pb2.ServerLiveRequest(), service_pb2.ServerLiveResponse()
        return bool(self._call("ServerLive", request, reply).live)

    def ready(self) -> bool:
        """Whether the server says it is ready."""
        request, reply = service_pb2.ServerReadyRequest(), service_pb2.ServerReadyResponse()
        return bool(self._call("ServerReady", request, reply).ready)

    def model_ready(self, model: str, version: str = "") -> bool:
        """Whether the server says the model is ready."""
        request = service_pb2.ModelReadyRequest(name=model, version=version)
        return bool(
            self._call("ModelReady", request, service_pb2.ModelReadyResponse(), model).ready
        )

    def server_metadata(self) -> Any:
        """The ServerMetadataResponse: name, version, extensions."""
        request = service_pb2.ServerMetadataRequest()
        return self._call("ServerMetadata", request, service_pb2.ServerMetadataResponse())

    def model_metadata(self, model: str, version: str = "") -> Any:
        """The ModelMetadataResponse: versions, platform, inputs, outputs."""
        request = service_pb2.ModelMetadataRequest(name=model, version=version)
        return self._call("ModelMetadata", request, service_pb2.ModelMetadataResponse(), model)

    def model_config(self, model: str, version: str = "") -> Any:
        """The ModelConfig of Triton's model configuration extension."""
        request = service_pb2.ModelConfigRequest(name=model, version=version)
        return self._call("ModelConfig", request, service_pb2.ModelConfigResponse(), model).config

    def statistics(self, model: str, version: str = "") -> Any:
        """The ModelStatisticsResponse of Triton's statistics extension."""
        request = service_pb2.ModelStatisticsRequest(name=model, version=version)
        return self._call("ModelStatistics", request, service_pb2.ModelStatisticsResponse(), model)

    def infer(self, message: bytes, model: str = "", deadline_s: float | None = None) -> Any:
        """Sends one serialized ModelInferRequest; the ModelInferResponse."""
        reply = self.infer_bytes(message, model, deadline_s)
        return self._parse("ModelInfer", reply, service_pb2.ModelInferResponse())

    def infer_bytes(
        self, message: bytes, model: str = "", deadline_s: float | None = None
    ) -> bytes:
        """As ``infer``, the response left serialized: what a probe's clock should end at."""
        self.connect()
        return self._invoke(
            self._channel, "ModelInfer", message, deadline_s or self._deadline_s, model
        )

    def _call(self, name: str, request: _Message, reply: MessageT, model: str = "") -> MessageT:
        self.connect()
        serialized = request.SerializeToString()
        return self._parse(
            name, self._invoke(self._channel, name, serialized, self._deadline_s, model), reply
        )

    def _invoke(
        self, channel: Any, name: str, request: bytes, deadline_s: float, model: str = ""
    ) -> bytes:
        if channel is None:
            raise NotStartedError(f"server {self.url}: the connection was closed")
        # Bytes in and out: grpc prints a traceback of its own for a reply it cannot parse.
        method = channel.unary_unary(
            f"/inference.GRPCInferenceService/{name}",
            request_serializer=None,
            response_deserializer=None,
        )
        try:
            reply = method(request, timeout=deadline_s, metadata=self._headers)
        except grpc.RpcError as error:
            self._fail(name, error, deadline_s, model)
        except ValueError:
            raise NotStartedError(f"server {self.url}: the connection was closed") from None
        assert isinstance(reply, bytes)
        return reply

    def _parse(self, name: str, serialized: bytes, reply: MessageT) -> MessageT:
        try:
            reply.ParseFromString(serialized)
        except DecodeError:
            raise NotStartedError(
                f"server {self.url} answered {name} with {len(serialized)} bytes"
                " that are not the message of that call"
            ) from None
        return reply

    def _fail(self, name: str, error: Any, deadline_s: float, model: str) -> NoReturn:
        code = str(error.code().name)
        # The whole text is redacted before any of it is cut off.
        text = clean_text(redact(str(error.details() or ""), self._headers))
        line = failure_line(self.url, name, code, text, deadline_s, clean_text(model, 60))
        raise CallError(line, code) from None


def failure_line(
    url: str, call: str, code: str, text: str, deadline_s: float, model: str = ""
) -> str:
    """What a failed call means to a person, in one line; ``text`` and ``model`` are clean."""
    said = f": {text}" if text else ""
    if code == "DEADLINE_EXCEEDED":
        return f"server {url} did not answer {call} within {deadline_s:.3g} s"
    if code == "UNIMPLEMENTED":
        return f"server {url} does not offer {call}{said}; is it a Triton server?"
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return f"server {url} refused {call} with {code}{said}; check -H"
    if model and code == "NOT_FOUND":
        return f"server {url} does not know model '{model}'{said}; check -m and -x"
    if model and call != "ModelInfer" and code == "UNAVAILABLE":
        return f"server {url}: model '{model}' is not available{said}"
    if code == "UNAVAILABLE":
        return f"server {url} is unavailable{said}"
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in text:
        return (
            f"server {url} answered {call} with more than {format_bytes(MAX_RECEIVE_BYTES)},"
            " which is refused"
        )
    return f"server {url} answered {call} with {code}{said}"


def _grpc_target(one: SocketAddress) -> str:
    host, port = one[1][0], one[1][1]
    # A zone after % would have to be escaped in this form of address.
    return f"ipv6:[{host}]:{port}" if one[0] == socket.AF_INET6 else f"ipv4:{host}:{port}"
