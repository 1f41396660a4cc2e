"""HTTP/2 frames by hand, to see exactly what a server writes."""

import contextlib
import socket
import struct
import time
from typing import NamedTuple

from tritonclient.grpc import service_pb2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
MAX_WINDOW = 2**31 - 1
INFER = b"/inference.GRPCInferenceService/ModelInfer"


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def request_headers(path: bytes = INFER, content_type: bytes = b"application/grpc") -> bytes:
    return (
        bytes([0x83, 0x86])
        + literal(b":path", path)
        + literal(b":authority", b"test")
        + literal(b"content-type", content_type)
    )


def infer_message(request_id: str = "", model: str = "identity") -> bytes:
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[16])
    request.raw_input_contents.append(bytes(range(64)))
    return request.SerializeToString()


def grpc_frame(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


def encode_request(stream: int, message: bytes | None = None) -> bytes:
    """HEADERS and DATA of one ModelInfer."""
    body = grpc_frame(infer_message() if message is None else message)
    return frame(HEADERS, END_HEADERS, stream, request_headers()) + frame(
        DATA, END_STREAM, stream, body
    )


class Wire:
    """One connection; every read has a deadline."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        host, port = url.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=timeout_s)
        self.timeout_s = timeout_s
        self.received = b""
        self.sock.sendall(
            PREFACE
            + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, MAX_WINDOW))
            + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", MAX_WINDOW - 65535))
        )

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def request(self, stream: int, message: bytes | None = None) -> bytes:
        return encode_request(stream, message)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def next_frame(self) -> Frame | None:
        """The next frame, or None at the end. SETTINGS and PING are acknowledged."""
        self.sock.settimeout(self.timeout_s)
        while len(self.received) < 9 or len(self.received) < 9 + self.length():
            chunk = self.sock.recv(1 << 16)
            if not chunk:
                return None
            self.received += chunk
        size = 9 + self.length()
        head, self.received = self.received[:size], self.received[size:]
        kind, flags, stream = struct.unpack(">BBI", head[3:9])
        got = Frame(kind, flags, stream, head[9:])
        if kind in (SETTINGS, PING) and not flags & ACK:
            with contextlib.suppress(OSError):
                self.send(frame(kind, ACK, 0, got.payload if kind == PING else b""))
        return got

    def length(self) -> int:
        return int.from_bytes(self.received[:3], "big")

    def until_end_of(self, stream: int) -> list[Frame]:
        """The stream's frames up to its end; fails if the connection ends before."""
        frames = []
        deadline = time.monotonic() + self.timeout_s
        while time.monotonic() < deadline:
            got = self.next_frame()
            assert got is not None, "the connection ended"
            if got.stream != stream:
                continue
            frames.append(got)
            if got.kind == RST_STREAM or (got.kind in (DATA, HEADERS) and got.flags & END_STREAM):
                return frames
        raise TimeoutError(f"stream {stream} did not end")

    def until_closed(self) -> list[Frame]:
        frames = []
        while (got := self.next_frame()) is not None:
            frames.append(got)
        return frames

    def infer(self, stream: int, message: bytes | None = None) -> bytes:
        """One request; the answer's message, empty where there was only a status."""
        self.send(self.request(stream, message))
        frames = self.until_end_of(stream)
        return b"".join(f.payload for f in frames if f.kind == DATA)[5:]
