import contextlib
import socket
import time

import pytest

from harness.control.address import parse_address, resolve
from harness.control.greeting import greet
from harness.errors import NotStartedError
from tests.grpc_fixture import GrpcServer, closed_port, raw_server

SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
TLS_ALERT = bytes((0x15, 3, 3, 0, 2, 2, 70))


def greeted(place, deadline_s=1.0):
    return greet(place, resolve(parse_address(place)), time.monotonic() + deadline_s)


def failure(place, deadline_s=1.0):
    with pytest.raises(NotStartedError) as caught:
        greeted(place, deadline_s)
    return str(caught.value)


def test_http2_is_accepted():
    with raw_server(SETTINGS) as place:
        assert greeted(place)[1][1] == int(place.rpartition(":")[2])
    with GrpcServer() as server:
        greeted(server.address, 5.0)


@pytest.mark.parametrize(
    ("reply", "close", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, "speaks HTTP/1; use the gRPC port"),
        (b"HTTP/1.0 200 OK\r\n\r\n", False, "speaks HTTP/1; use the gRPC port"),
        (TLS_ALERT, True, "speaks TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False, "does not speak gRPC"),
        (b"+OK", False, "does not speak gRPC"),
        (b"", True, "closed the connection without an answer"),
        (None, False, "accepts connections but did not answer within"),
    ],
)
def test_others_are_named(reply, close, said):
    with raw_server(reply, close) as place:
        line = failure(place)
    assert said in line
    assert place in line


def test_refused():
    with closed_port() as place:
        assert failure(place) == (
            f"server {place} refused the connection; is it running, and is this its gRPC port?"
        )


def test_mute_server_takes_the_deadline_and_no_longer():
    with raw_server(None) as place:
        start_s = time.monotonic()
        failure(place, 0.5)
        assert time.monotonic() - start_s < 2.5


def test_second_address_is_used_if_the_first_refuses():
    with closed_port() as shut, raw_server(SETTINGS) as place:
        found = resolve(parse_address(shut)) + resolve(parse_address(place))
        assert greet("both", found, time.monotonic() + 5) == found[1]


def test_unreachable():
    # A full queue of connections that nobody accepts: further ones get no answer at all.
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        assert "cannot be reached: no connection within" in failure(place, 0.4)
