"""Clients that break the rules: limits, and bytes that mean nothing."""

import random
import socket
import struct
import time

import grpc
import pytest
from tritonclient.grpc import service_pb2

from harness.embedded.server import (
    EmbeddedServer,
    ServeConfig,
)
from tests.embedded.asking import VALUES, client, code_of, stub, tensor
from tests.h2wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    Wire,
    encode_request,
    frame,
    grpc_frame,
    infer_message,
    literal,
    request_headers,
)


def test_a_request_over_the_limit_is_refused():
    with EmbeddedServer(ServeConfig(max_request_bytes=4096)) as running:
        request = service_pb2.ModelInferRequest(model_name="x" * 5000)
        code = code_of(lambda: stub(running).ModelInfer(request, timeout=10))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        request = service_pb2.ModelInferRequest(model_name="x" * 500_000)
        code = code_of(lambda: stub(running).ModelInfer(request, timeout=10))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        client(running).infer("identity", [tensor(VALUES)])


def test_headers_over_the_limit_are_refused(server):
    with Wire(server.url) as wire:
        block = request_headers() + literal(b"x", b"v" * 100) * 150
        wire.send(frame(HEADERS, END_HEADERS, 1, block))
        wire.send(frame(DATA, END_STREAM, 1, grpc_frame(infer_message())))
        frames = wire.until_end_of(1)
        assert [f.kind for f in frames] == [HEADERS]


def test_connections_over_the_limit_are_closed():
    with EmbeddedServer(ServeConfig(max_connections=2)) as running:
        with Wire(running.url) as one, Wire(running.url) as two:
            one.infer(1)
            two.infer(1)
            with Wire(running.url) as three, pytest.raises((AssertionError, ConnectionError)):
                three.infer(1)
            one.infer(3)
        deadline = time.monotonic() + 5
        while True:
            try:
                with Wire(running.url) as later:
                    later.infer(1)
                break
            except (AssertionError, ConnectionError):
                assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "body",
    [b"", b"\0\0\0", b"\1" + struct.pack(">I", 0), struct.pack(">BI", 0, 9), b"\0" * 12],
)
def test_a_body_that_is_no_grpc_message_gets_a_status(server, body):
    with Wire(server.url) as wire:
        wire.send(frame(HEADERS, END_HEADERS, 1, request_headers()))
        wire.send(frame(DATA, END_STREAM, 1, body))
        assert [f.kind for f in wire.until_end_of(1)] == [HEADERS]
        assert wire.infer(3)


def test_mutated_messages_never_end_it(server):
    rng = random.Random(1)
    message = infer_message("0123456789abcdef")
    with Wire(server.url) as wire:
        for i in range(1500):
            mutant = bytearray(message)
            for _ in range(rng.randint(1, 4)):
                what, at = rng.random(), rng.randrange(len(mutant))
                if what < 0.6:
                    mutant[at] = rng.randrange(256)
                elif what < 0.8:
                    del mutant[at : at + rng.randint(1, 20)]
                else:
                    mutant[at:at] = rng.randbytes(rng.randint(1, 20))
                if not mutant:
                    mutant = bytearray(b"\xff")
            wire.infer(2 * i + 1, bytes(mutant))
        assert service_pb2.ModelInferResponse.FromString(wire.infer(3001, message)).id


def test_random_bytes_never_end_it(server):
    rng = random.Random(2)
    whole = PREFACE + frame(4, 0, 0) + encode_request(1) + encode_request(3)
    for _ in range(150):
        mutant = bytearray(whole if rng.random() < 0.8 else rng.randbytes(300))
        for _ in range(rng.randint(1, 6)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        host, port = server.url.split(":")
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            try:
                raw.sendall(mutant)
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(65536):
                    pass
            except ConnectionError:
                pass
    with Wire(server.url) as wire:
        assert wire.infer(1)
