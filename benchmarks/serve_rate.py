"""What one core of the embedded server answers: python benchmarks/serve_rate.py [--inflight 64].

The client only writes frames encoded beforehand and counts bytes, so that the server is the
limit. The server is pinned to one CPU and the client to another; the server's CPU time per
request is printed beside the rate.
"""

import argparse
import os
import socket
import struct
import time

import psutil
from tritonclient.grpc import service_pb2

from harness.embedded.server import EmbeddedServer, ServeConfig

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_WINDOW = 2**31 - 1
DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header_block() -> bytes:
    """HPACK: static :method POST and :scheme http, the rest as literals without indexing."""
    block = bytes([0x83, 0x86])
    for name, value in (
        (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
        (b":authority", b"127.0.0.1"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ):
        block += bytes([0, len(name)]) + name + bytes([len(value)]) + value
    return block


def body() -> bytes:
    request = service_pb2.ModelInferRequest(model_name="identity", id="0000000000000001")
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[16])
    request.raw_input_contents.append(bytes(64))
    message = request.SerializeToString()
    return struct.pack(">BI", 0, len(message)) + message


class Blaster:
    """One connection; every answer of the server has the same length but the first."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(
            PREFACE
            + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, MAX_WINDOW))
            + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", MAX_WINDOW - 65535))
            + frame(SETTINGS, ACK, 0, b"")
        )
        self.stream = 1
        self.block, self.body = header_block(), body()
        self.buffer = bytearray(1 << 20)
        self.settle()
        self.exchange(1)
        self.settle()
        self.answer_bytes = self.exchange(1)

    def settle(self) -> int:
        """Reads until nothing comes for 200 ms; the bytes read."""
        total = 0
        self.sock.settimeout(0.2)
        try:
            while n := self.sock.recv_into(self.buffer):
                total += n
        except TimeoutError:
            pass
        self.sock.settimeout(10)
        return total

    def requests(self, count: int) -> bytes:
        parts = []
        for _ in range(count):
            parts.append(frame(HEADERS, END_HEADERS, self.stream, self.block))
            parts.append(frame(DATA, END_STREAM, self.stream, self.body))
            self.stream += 2
        return b"".join(parts)

    def exchange(self, count: int) -> int:
        self.sock.sendall(self.requests(count))
        return self.settle()

    def run(self, count: int, inflight: int) -> float:
        """Seconds for ``count`` requests with about ``inflight`` of them unanswered."""
        step = max(1, inflight // 4)
        batches = [self.requests(step) for _ in range(count // step)]
        start = time.perf_counter()
        sent = answered = 0
        for batch in batches:
            while sent - answered // self.answer_bytes > inflight - step:
                answered += self.sock.recv_into(self.buffer)
            self.sock.sendall(batch)
            sent += step
        while answered < sent * self.answer_bytes:
            answered += self.sock.recv_into(self.buffer)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400_000)
    parser.add_argument("--inflight", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.server_cpu, options.client_cpu})
    with EmbeddedServer(ServeConfig(cpu=options.server_cpu)) as server:
        os.sched_setaffinity(0, {options.client_cpu})
        host, port = server.url.split(":")
        process = psutil.Process(server.pid)
        for _ in range(options.runs):
            blaster = Blaster((host, int(port)))
            before = process.cpu_times()
            seconds = blaster.run(options.requests, options.inflight)
            after = process.cpu_times()
            user_us = (after.user - before.user) / options.requests * 1e6
            system_us = (after.system - before.system) / options.requests * 1e6
            print(
                f"{options.requests / seconds:.0f} requests/s at {options.inflight} in flight, "
                f"server CPU {user_us:.2f} us user + {system_us:.2f} us system each, "
                f"{(user_us + system_us) * options.requests / seconds / 1e4:.0f} % of its core",
                flush=True,
            )


if __name__ == "__main__":
    main()
