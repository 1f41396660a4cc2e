"""What listens at a socket address: HTTP/2 in the clear, or what there is instead."""

import selectors
import socket
import time
from collections.abc import Sequence

from harness.control.address import SocketAddress
from harness.errors import NotStartedError
from harness.untrusted import clean_text

_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SETTINGS_TYPE = 4
_FRAME_HEADER_BYTES = 9
_TLS_RECORD_TYPES = (0x15, 0x16)


def greet(url: str, found: Sequence[SocketAddress], t_end_s: float) -> SocketAddress:
    """The first of the addresses that speaks HTTP/2 without TLS; waits until ``t_end_s`` at most.

    Raises NotStartedError saying what is there instead.
    """
    failures = []
    for index, one in enumerate(found):
        left_s = max(0.1, t_end_s - time.monotonic()) / (len(found) - index)
        failure = _greet_one(url, one, time.monotonic() + left_s)
        if failure is None:
            return one
        failures.append(failure)
    raise NotStartedError(failures[0])


def _greet_one(url: str, one: SocketAddress, t_end_s: float) -> str | None:
    """None if HTTP/2 is spoken there, or the line that says what is wrong."""
    t_start_s = time.monotonic()
    try:
        with socket.socket(one[0], socket.SOCK_STREAM) as sock:
            sock.settimeout(t_end_s - t_start_s)
            sock.connect(one[1])
            sock.sendall(_HTTP2_HELLO)
            # Some of the time is kept to find out what a silent server does speak.
            said = _listen(sock, t_start_s + 0.75 * (t_end_s - t_start_s))
    except ConnectionRefusedError:
        return f"server {url} refused the connection; is it running, and is this its gRPC port?"
    except TimeoutError:
        waited_s = time.monotonic() - t_start_s
        return f"server {url} cannot be reached: no connection within {waited_s:.2g} s"
    except ConnectionError:
        said = b""
    except OSError as error:
        reason = clean_text(error.strerror or type(error).__name__)
        return f"server {url} cannot be reached: {reason}"
    if said is not None and len(said) >= _FRAME_HEADER_BYTES and said[3] == _SETTINGS_TYPE:
        return None
    if said is not None and said[:1] and said[0] in _TLS_RECORD_TYPES:
        return f"server {url} speaks TLS, which is not supported; use a plaintext gRPC port"
    if (said or b"").startswith(b"HTTP/1") or _speaks_http1(one, t_end_s):
        return f"server {url} speaks HTTP/1; use the gRPC port, usually 8001"
    if said is None:
        waited_s = time.monotonic() - t_start_s
        return f"server {url} accepts connections but did not answer within {waited_s:.2g} s"
    if not said:
        return (
            f"server {url} closed the connection without an answer;"
            " is this a plaintext gRPC port (usually 8001)?"
        )
    return f"server {url} does not speak gRPC; use the gRPC port, usually 8001"


def _speaks_http1(one: SocketAddress, t_end_s: float) -> bool:
    try:
        with socket.socket(one[0], socket.SOCK_STREAM) as sock:
            sock.settimeout(max(0.05, t_end_s - time.monotonic()))
            sock.connect(one[1])
            sock.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return (_listen(sock, t_end_s) or b"").startswith(b"HTTP/1")
    except OSError:
        return False


def _listen(sock: socket.socket, t_end_s: float) -> bytes | None:
    """The first bytes that arrive, at least a frame header's; None if nothing came in time."""
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        while len(said) < _FRAME_HEADER_BYTES:
            left_s = t_end_s - time.monotonic()
            if left_s <= 0 or not selector.select(left_s):
                return said or None
            try:
                more = sock.recv(64)
            except ConnectionError:
                return said
            if not more:
                return said
            said += more
    return said
