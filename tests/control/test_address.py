import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.control import address as address_module
from harness.control.address import Address, parse_address, resolve
from harness.errors import NotStartedError, UsageError
from tests.grpc_fixture import raw_server


@pytest.mark.parametrize(
    ("text", "host", "port", "canonical"),
    [
        ("localhost:8001", "localhost", 8001, "localhost:8001"),
        (" GPU-1.example.com:1 ", "gpu-1.example.com", 1, "gpu-1.example.com:1"),
        ("127.0.0.1:65535", "127.0.0.1", 65535, "127.0.0.1:65535"),
        ("[::1]:8001", "::1", 8001, "[::1]:8001"),
        ("[0:0:0:0:0:0:0:1]:8001", "::1", 8001, "[::1]:8001"),
        ("my_server:08001", "my_server", 8001, "my_server:8001"),
    ],
)
def test_addresses(text, host, port, canonical):
    address = parse_address(text)
    assert address == Address(host, port)
    assert address.canonical == canonical
    assert parse_address(canonical) == address


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("localhost", "no port; write localhost:8001"),
        ("", "no port"),
        ("grpc://localhost:8001", "scheme 'grpc://'; write localhost:8001"),
        ("localhost:8001/v2", "a path after 'localhost:8001'"),
        ("localhost:0", "port '0'"),
        ("localhost:65536", "port '65536'"),
        ("localhost:http", "port 'http'"),
        ("localhost:", "port ''"),
        ("localhost:-1", "port '-1'"),
        ("::1:8001", "needs brackets"),
        ("[::1]", "no port"),
        ("[::1", "no port"),
        ("[localhost]:8001", "no IPv6 address"),
        (":8001", "no valid host name"),
        ("-a:8001", "no valid host name"),
        ("a..b:8001", "no valid host name"),
        ("a b:8001", "no valid host name"),
        ("a" * 254 + ":8001", "no valid host name"),
    ],
)
def test_bad_addresses(text, said):
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["user:hunter2@localhost:8001", "grpc://user:hunter2@h:1", "u:p@hunter2@h:1", "a@b/hunter2",
     "localhost:8001/?token=hunter2", "http://localhost:8001/hunter2", "localhost:8001#hunter2"],
)  # fmt: skip
def test_secrets_are_not_echoed(text):
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_usage_error(text):
    line = ""
    try:
        address = parse_address(text)
        assert parse_address(address.canonical) == address
    except UsageError as error:
        line = str(error)
    assert line == "" or line.isprintable()


def test_resolves_literals_and_names():
    assert resolve(Address("127.0.0.1", 81)) == ((socket.AF_INET, ("127.0.0.1", 81)),)
    assert ("127.0.0.1", 81) in [one[1] for one in resolve(Address("localhost", 81))]


def test_addresses_that_accept_come_first(monkeypatch):
    with raw_server(None) as place:
        port = int(place.rpartition(":")[2])
        infos = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
            for host in ("127.0.0.2", "127.0.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
        found = resolve(Address("twofold", port))
    assert [one[1][0] for one in found] == ["127.0.0.1", "127.0.0.2"]


def test_unknown_name(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(NotStartedError) as caught:
        resolve(Address("no.such.invalid", 1))
    assert str(caught.value) == (
        "server no.such.invalid:1: its name cannot be resolved"
        " (Name or service not known); check -u"
    )


def test_resolver_that_hangs_is_left_after_the_deadline(monkeypatch):
    release = address_module.threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(30) and [])
    start_s = time.monotonic()
    try:
        with pytest.raises(NotStartedError, match="not resolved within"):
            resolve(Address("slow.example", 1), 0.1)
        assert time.monotonic() - start_s < 5
    finally:
        release.set()
