"""The page of a server that means no good costs its time and its size at most."""

import itertools
import socket
import time
import tracemalloc

import pytest

from harness.devices.metrics_page import MAX_PAGE_BYTES, fetch, samples
from harness.devices.metrics_url import parse_metrics_url
from tests.devices.pages import CPU_PAGE, GPU_PAGE, Pages, ok, page_server, serving, slowly
from tests.grpc_fixture import closed_port, raw_server

DEADLINE_S = 0.5
ROOM_S = 1.0
"""Of a busy machine; without the deadline these would go on for 5 s and more."""


def fetched(text, deadline_s=DEADLINE_S):
    start_s = time.monotonic()
    url = parse_metrics_url(text)
    page = fetch(url, start_s + deadline_s)
    assert time.monotonic() - start_s < deadline_s + ROOM_S
    return page


def test_a_page():
    with page_server(GPU_PAGE.encode) as pages:
        assert fetched(pages.url, 5).decode() == GPU_PAGE
    (request,) = pages.requests
    assert request.startswith(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAccept-Encoding: identity\r\n" in request


def test_by_name_without_scheme_and_path():
    with page_server(CPU_PAGE.encode) as pages:
        port = pages.url.split(":")[2].split("/")[0]
        assert fetched(f"localhost:{port}", 5).decode() == CPU_PAGE


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_chunks_and_no_length():
    chunked = CHUNKED + b"5\r\nnv_a \r\n2\r\n1\n\r\n0\r\n\r\n"
    until_the_end = b"HTTP/1.0 200 OK\r\n\r\nnv_a 1\n"
    for answer in (chunked, until_the_end):
        with serving(lambda sock, _, answer=answer: sock.sendall(answer)) as pages:
            assert fetched(pages.url, 5) == b"nv_a 1\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nnv_a 1\n", id="missing"),
        pytest.param(b"HTTP/1.1 500 No\r\n\r\n", id="broken"),
        pytest.param(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" * 100, id="HTTP/2"),
        pytest.param(bytes(range(256)) * 1000, id="binary"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x" * 10**6, id="endless line"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10**5, id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nnv_a 1\n", id="cut short"),
        pytest.param(CHUNKED + b"ffffffffffff\r\nx", id="chunk"),
        pytest.param(CHUNKED + b"zz\r\n", id="no chunk"),
        pytest.param(HEAD[:-2] + b"Content-Length: -5\r\n\r\n" + b"x" * 5 * 2**20, id="long"),
    ],
)
def test_what_is_no_page(answer):
    with serving(lambda sock, _: sock.sendall(answer)) as pages:
        assert fetched(pages.url, 5) is None


def test_a_redirect_is_not_followed():
    with page_server(GPU_PAGE.encode) as there:
        moved = f"HTTP/1.1 302 Found\r\nLocation: {there.url}\r\nContent-Length: 0\r\n\r\n".encode()
        with serving(lambda sock, _: sock.sendall(moved)) as pages:
            assert fetched(pages.url, 5) is None
    assert there.requests == []


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(lambda: itertools.repeat(b"a"), id="status line"),
        pytest.param(
            lambda: itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"a: b\r\n")),
            id="headers",
        ),
        pytest.param(lambda: itertools.chain([HEAD], itertools.repeat(b"a 1\n")), id="body"),
        pytest.param(lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), id="continue"),
        pytest.param(
            lambda: itertools.chain(
                [CHUNKED],
                itertools.repeat(b"1\r\na\r\n"),
            ),
            id="chunks",
        ),
    ],
)
def test_a_slow_one(pieces):
    with serving(lambda sock, pages: slowly(sock, pages, pieces())) as pages:
        assert fetched(pages.url) is None


def test_one_that_is_silent_or_not_there():
    with raw_server(None) as mute:
        assert fetched(mute) is None
    with closed_port() as shut:
        assert fetched(shut) is None
    assert fetched("x" * 70 + ":8002") is None


def forever(sock: socket.socket, pages: Pages) -> None:
    block = b'nv_energy_consumption{gpu_uuid="x"} 1\n' * 2000
    sock.sendall(HEAD)
    while not pages.stopping:
        sock.sendall(block)


def test_an_endless_one_costs_no_memory():
    with serving(forever) as pages:
        tracemalloc.start()
        try:
            assert fetched(pages.url, 5) is None
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < 6 * MAX_PAGE_BYTES  # the server's block is among it


def test_a_million_other_series_are_read_past():
    page = b"a 1\n" * 10**6 + b"nv_a 2\n"
    start_s = time.monotonic()
    (found,) = samples(page, {"nv_a"})
    assert (found.name, found.labels, found.value) == ("nv_a", {}, 2.0)
    assert time.monotonic() - start_s < 3
    with serving(lambda sock, _: sock.sendall(ok(page))) as pages:
        assert fetched(pages.url, 5) == page


def test_too_many_series_that_matter():
    with pytest.raises(ValueError, match="100000 series; the most is 1024"):
        samples(b'nv_a{x="1"} 2\n' * 10**5, {"nv_a"})
    with pytest.raises(ValueError, match="characters; the most is 262144"):
        samples((b'nv_a{x="' + b"\\\\" * 1500 + b'"} 2\n') * 100, {"nv_a"})


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (b"", []),
        (b"# nv_a 1\n", []),
        (b"nv_ab 1\n", []),
        (b"nv_a NaN\nnv_a +Inf\nnv_a 3\n", [({}, 3.0)]),
        (b'nv_a{b="c\\"d",e="f"} 1e3 1234\n', [({"b": 'c"d', "e": "f"}, 1000.0)]),
        (b"nv_a{" + b"b" * 5000 + b"} 1\nnv_a 4", [({}, 4.0)]),
        (b'nv_a{b="\xff\xe2\x80\xa8"} 1\n', [({"b": "\ufffd\u2028"}, 1.0)]),
    ],
)
def test_lines(page, expected):
    assert [(one.labels, one.value) for one in samples(page, {"nv_a"})] == expected


@pytest.mark.parametrize("page", [b"nv_a\n", b"nv_a{\n", b'nv_a{b="c} 1\n', b"nv_a x\n"])
def test_lines_that_are_none(page):
    with pytest.raises(ValueError, match=r"."):
        samples(page, {"nv_a"})
