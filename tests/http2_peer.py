"""A gRPC server over plain sockets that does what a test tells it, right or wrong."""

import contextlib
import heapq
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tritonclient.grpc import service_pb2

from tests.h2wire import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    literal,
)

PRIORITY, CONTINUATION = 2, 9
PADDED = 8
ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 2, 3, 4, 5
NO_ERROR, CANCEL = 0, 8
WIDE_WINDOW = 1 << 30


def header_block(fields: Mapping[str, str]) -> bytes:
    """HPACK's plainest form: literals, never indexed, no Huffman code."""
    return b"".join(literal(name.encode(), value.encode()) for name, value in fields.items())


def framed(message: bytes, compressed: int = 0) -> bytes:
    """A message with gRPC's prefix."""
    return bytes([compressed]) + len(message).to_bytes(4, "big") + message


def answer_to(request_id: str, outputs: int = 1) -> bytes:
    """A serialized ModelInferResponse."""
    response = service_pb2.ModelInferResponse(model_name="m", id=request_id)
    for index in range(outputs):
        response.outputs.add(name=f"OUTPUT{index}", datatype="FP32", shape=[1])
        response.raw_output_contents.append(b"\0\0\0\0")
    return bytes(response.SerializeToString())


@dataclass(frozen=True)
class Request:
    """A request whose last byte has arrived."""

    stream_id: int
    message: bytes

    @property
    def id(self) -> str:
        return str(service_pb2.ModelInferRequest.FromString(self.message).id)


class PeerConnection:
    """The server's side of one connection. Only its own thread may use it."""

    def __init__(self, sock: socket.socket, peer: "Peer") -> None:
        self.sock = sock
        self.peer = peer
        self.bodies: dict[int, bytearray] = {}  # of streams that are open
        self.most_open = 0
        self.requests = 0
        self.resets: list[int] = []  # codes the client sent
        self.data_sizes: list[int] = []
        self.client_settings: dict[int, int] = {}
        self.pings_answered = 0
        self.closed = False
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call from this connection's thread once ``delay_s`` have passed."""
        heapq.heappush(self._later, (time.monotonic() + delay_s, next(self._order), call))

    def send(self, kind: int, flags: int, stream_id: int, payload: bytes = b"") -> None:
        self.sock.sendall(frame(kind, flags, stream_id, payload))

    def settings(self, values: Mapping[int, int]) -> None:
        payload = b"".join(struct.pack("!HI", key, value) for key, value in values.items())
        self.send(SETTINGS, 0, 0, payload)

    def headers(self, stream_id: int, fields: Mapping[str, str], end: bool = False) -> None:
        self.send(
            HEADERS, END_HEADERS | (END_STREAM if end else 0), stream_id, header_block(fields)
        )
        if end:
            self.bodies.pop(stream_id, None)

    def begin(self, stream_id: int) -> None:
        self.headers(stream_id, {":status": "200", "content-type": "application/grpc"})

    def data(self, stream_id: int, body: bytes) -> None:
        self.send(DATA, 0, stream_id, body)

    def end(self, stream_id: int, status: str = "0") -> None:
        self.headers(stream_id, {"grpc-status": status}, end=True)

    def answer(self, request: Request) -> None:
        """As it should be."""
        self.begin(request.stream_id)
        self.data(request.stream_id, framed(answer_to(request.id)))
        self.end(request.stream_id)

    def reset(self, stream_id: int, code: int) -> None:
        self.send(RST_STREAM, 0, stream_id, struct.pack("!I", code))
        self.bodies.pop(stream_id, None)

    def goaway(self, last_stream_id: int = (1 << 31) - 1, code: int = NO_ERROR) -> None:
        self.send(GOAWAY, 0, 0, struct.pack("!II", last_stream_id, code))

    def widen(self, stream_id: int, by: int) -> None:
        self.send(WINDOW_UPDATE, 0, stream_id, struct.pack("!I", by))

    def close(self) -> None:
        """Hang up: the client reads what was sent before, then the end; no more is answered."""
        self.closed = True
        self.sock.shutdown(socket.SHUT_WR)

    def serve(self) -> None:
        """Until the client is gone."""
        received = bytearray()
        expected = len(PREFACE)
        self.peer.on_connect(self)
        while self._receive(received, expected):
            if expected == len(PREFACE) and received.startswith(PREFACE):
                del received[: len(PREFACE)]
                expected = 9
            while len(received) >= 9:
                length = int.from_bytes(received[:3], "big")
                if len(received) < 9 + length:
                    break
                kind, flags = received[3], received[4]
                stream_id = int.from_bytes(received[5:9], "big")
                payload = bytes(received[9 : 9 + length])
                del received[: 9 + length]
                if not self.closed:
                    self._on_frame(kind, flags, stream_id, payload)

    def _receive(self, received: bytearray, expected: int) -> bool:
        while True:
            now_s = time.monotonic()
            while self._later and self._later[0][0] <= now_s:
                heapq.heappop(self._later)[2]()
            self.sock.settimeout(max(0.001, self._later[0][0] - now_s) if self._later else None)
            with contextlib.suppress(TimeoutError):
                chunk = self.sock.recv(1 << 18)
                received += chunk
                if not chunk or len(received) >= expected:
                    return bool(chunk)

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == HEADERS:
            self.bodies[stream_id] = bytearray()
            self.most_open = max(self.most_open, len(self.bodies))
            if self.peer.window is not None:
                self.widen(stream_id, self.peer.window)
        elif kind == DATA:
            self.data_sizes.append(len(payload))
            self.bodies[stream_id] += payload
            if self.peer.window is not None and payload:
                self.widen(0, len(payload))
                if not flags & END_STREAM:
                    self.widen(stream_id, len(payload))
        elif kind == RST_STREAM:
            self.bodies.pop(stream_id, None)
            self.resets.append(struct.unpack("!I", payload)[0])
        elif kind == PING and flags & ACK:
            self.pings_answered += 1
        elif kind == SETTINGS and not flags & ACK:
            self._on_settings(payload)
        if kind == DATA and flags & END_STREAM:
            body = bytes(self.bodies[stream_id])
            assert body[:5] == framed(body[5:])[:5]
            self.requests += 1
            self.peer.on_request(self, Request(stream_id, body[5:]))

    def _on_settings(self, payload: bytes) -> None:
        for key, value in struct.iter_unpack("!HI", payload):
            self.client_settings[key] = value
        if self.peer.settles:
            self.send(SETTINGS, ACK, 0)


class Peer:
    """Listens on a free port for the length of a ``with`` block, a thread for each connection.

    ``on_request(connection, request)`` does as it likes, by default it answers; so does
    ``on_connect(connection)``, by default it sends ``settings``. ``window``: what each stream's
    window is widened by at its start, and again by what is read; None: windows stay as they are.
    """

    def __init__(
        self,
        on_request: Callable[[PeerConnection, Request], None] = PeerConnection.answer,
        *,
        on_connect: Callable[[PeerConnection], None] | None = None,
        settings: Mapping[int, int] | None = None,
        settles: bool = True,
        window: int | None = 1 << 20,
    ) -> None:
        self.on_request = on_request
        self.on_connect = on_connect or self.greet
        self.settings = settings or {}
        self.settles = settles
        self.window = window
        self.connections: list[PeerConnection] = []
        self.errors: list[BaseException] = []
        self.address: tuple[str, int] = ("", 0)
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def greet(self, connection: PeerConnection) -> None:
        connection.settings(self.settings)
        if self.window is not None:
            connection.widen(0, WIDE_WINDOW)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self._threads)
        assert self.errors == []

    def stop(self) -> None:
        """Refuse connections from now on and hang up on all there are."""
        if self._stopping:
            return
        self._stopping = True
        # A blocked accept does not notice that its socket was closed; a connection wakes it.
        with contextlib.suppress(OSError):
            socket.create_connection(self.address, 5).close()
        self._threads[0].join(10)
        self._listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    @property
    def requests(self) -> int:
        return sum(connection.requests for connection in self.connections)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._stopping:
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = PeerConnection(sock, self)
            self.connections.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: PeerConnection) -> None:
        with connection.sock:
            try:
                connection.serve()
            except OSError:
                pass  # the client hung up, or this side did
            except BaseException as error:
                self.errors.append(error)


def answer_after(delay_s: float) -> Callable[[PeerConnection, Request], None]:
    """What answers as it should, that much later."""
    return lambda connection, request: connection.later(delay_s, lambda: connection.answer(request))


@contextlib.contextmanager
def hanging() -> Iterator[Peer]:
    """A server that reads everything and never answers."""
    with Peer(lambda connection, request: None) as peer:
        yield peer
