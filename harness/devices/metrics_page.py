"""A server's Prometheus page: fetched within a time and a size, and read by Prometheus' own parser.

The other side is not trusted: it may send for ever, slowly, or something else altogether.
"""

import http.client
import io
import math
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from harness.control.address import resolve
from harness.devices.metrics_url import MetricsUrl
from harness.errors import NotStartedError

MAX_PAGE_BYTES = 4 * 2**20
MAX_HEAD_BYTES = 64 * 1024
MAX_LINE_CHARS = 4096
MAX_SAMPLES = 1024
MAX_PARSED_CHARS = 256 * 1024
"""What the parser may get; 2.7 million characters of escapes and labels took it 1.7 s."""


@dataclass(frozen=True)
class Sample:
    """One series' value; it is finite."""

    name: str
    labels: dict[str, str]
    value: float


def fetch(url: MetricsUrl, t_end_s: float) -> bytes | None:
    """The page, or None if it cannot be had by ``t_end_s`` (time.monotonic).

    None too: any status but 200 (no redirect is followed), a page over MAX_PAGE_BYTES or cut short.
    """
    try:
        found = resolve(url.address, _left_s(t_end_s))
        family, place = found[0]
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(_left_s(t_end_s))
            sock.connect(place)
            sock.sendall(_request(url))
            return _page(sock, t_end_s)
    except (OSError, ValueError, http.client.HTTPException, NotStartedError):
        return None


def samples(page: bytes, names: Collection[str]) -> list[Sample]:
    """The series called one of ``names``; what is not finite is left out.

    Raises ValueError for more than MAX_SAMPLES lines or MAX_PARSED_CHARS of these, or what the
    parser refuses.
    """
    # Its package takes longer to import than most commands take to start.
    from prometheus_client.parser import text_string_to_metric_families

    # Lines go to the parser only if they matter: it would take seconds over a million others.
    begins = tuple(names)
    lines = [
        line
        for line in page.decode("utf-8", "replace").split("\n")
        if line.startswith(begins) and len(line) <= MAX_LINE_CHARS
    ]
    if len(lines) > MAX_SAMPLES:
        raise ValueError(f"{len(lines)} series; the most is {MAX_SAMPLES}")
    text = "\n".join(lines) + "\n"
    if len(text) > MAX_PARSED_CHARS:
        raise ValueError(f"{len(text)} characters; the most is {MAX_PARSED_CHARS}")
    families = text_string_to_metric_families(text)
    return [
        Sample(one.name, dict(one.labels), float(one.value))
        for family in families
        for one in family.samples
        if one.name in names and math.isfinite(one.value)
    ]


class _Timed(io.RawIOBase):
    """What arrives at a socket until a time is over or a size is reached; then OSError."""

    def __init__(self, sock: socket.socket, t_end_s: float) -> None:
        self._sock = sock
        self._t_end_s = t_end_s
        self._left_bytes = MAX_HEAD_BYTES + 2 * MAX_PAGE_BYTES  # chunks have heads of their own

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left_s(self._t_end_s))
        count = self._sock.recv_into(buffer)
        self._left_bytes -= count
        if self._left_bytes < 0:
            raise OSError("too much")
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """As http.client asks a socket for."""
        return io.BufferedReader(self, 65_536)


def _page(sock: socket.socket, t_end_s: float) -> bytes | None:
    response = http.client.HTTPResponse(_Timed(sock, t_end_s), method="GET")  # type: ignore[arg-type]
    with response:
        response.begin()
        if response.status != http.client.OK:
            return None
        page = response.read(MAX_PAGE_BYTES + 1)
        cut_short = response.length not in (None, 0)
    return None if cut_short or len(page) > MAX_PAGE_BYTES else page


def _request(url: MetricsUrl) -> bytes:
    return (
        f"GET {url.path} HTTP/1.1\r\nHost: {url.address.canonical}\r\nAccept: text/plain\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def _left_s(t_end_s: float) -> float:
    """Raises TimeoutError when there is none."""
    left_s = t_end_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
