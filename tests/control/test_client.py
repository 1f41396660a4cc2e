import logging
import subprocess
import sys
import time

import grpc
import pytest
from pydantic import SecretStr

from harness.config import BenchConfig
from harness.control.address import parse_address
from harness.control.client import CallError, ControlClient, failure_line
from harness.control.inputs import build_payload, request_id
from harness.control.signature import Signature
from harness.errors import HarnessError, NotStartedError, UsageError
from tests.grpc_fixture import GrpcServer, aborting, closed_port, raw_server

SECRET = ("authorization", SecretStr("Bearer hunter2"))


@pytest.fixture
def server():
    with GrpcServer() as running:
        yield running


@pytest.fixture
def client(server):
    with ControlClient(parse_address(server.address), [SECRET]) as connected:
        yield connected


def failure(client, call):
    with pytest.raises(NotStartedError) as caught:
        call(client)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def test_every_call(server, client):
    server.statistics.model_stats.add(name="identity", version="1")
    assert client.live()
    assert client.ready()
    assert client.model_ready("identity")
    assert client.server_metadata().version == "2.51.0"
    metadata, config = client.model_metadata("identity"), client.model_config("identity")
    assert metadata == server.metadata
    assert config == server.config
    assert client.statistics("identity").model_stats[0].version == "1"
    payload = build_payload(Signature.from_protobuf(metadata, config), BenchConfig(model="m"))
    reply = client.infer(payload.with_id(request_id("p", 5)))
    assert reply.id == "p000000000000005"
    assert len(reply.raw_output_contents[0]) == 64
    assert server.headers["authorization"] == "Bearer hunter2"
    assert client.sockaddrs[0][1][0] == "127.0.0.1"


def test_not_live(server, client):
    server.answers["ServerLive"] = lambda _: b""
    assert failure(client, ControlClient.live) == f"server {server.address} says it is not live"


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (grpc.StatusCode.NOT_FOUND, "unknown model", "does not know model 'nope': unknown model;"),
        (grpc.StatusCode.UNAVAILABLE, "no version", "model 'nope' is not available: no version"),
        (grpc.StatusCode.UNIMPLEMENTED, "", "does not offer ModelMetadata; is it a Triton"),
        (grpc.StatusCode.UNAUTHENTICATED, "got Bearer hunter2", "got ***; check -H"),
        (grpc.StatusCode.INTERNAL, "a\x1b[2Jb\nc", "answered ModelMetadata with INTERNAL: a[2Jb c"),
        (grpc.StatusCode.INTERNAL, "x" * 5000, "xxx..."),
    ],
)
def test_statuses(server, client, code, text, said):
    server.answers["ModelMetadata"] = aborting(code, text)
    assert said in failure(client, lambda one: one.model_metadata("nope"))


def test_status_code_is_kept(server, client):
    server.answers["ModelStatistics"] = aborting(grpc.StatusCode.UNIMPLEMENTED, "")
    with pytest.raises(CallError) as caught:
        client.statistics("identity")
    assert caught.value.code == "UNIMPLEMENTED"


def test_a_reply_that_is_no_message_is_one_line_and_no_log(server, client, caplog):
    server.answers["ModelConfig"] = lambda _: b"\xff" * 100
    with caplog.at_level(logging.DEBUG):
        line = failure(client, lambda one: one.model_config("identity"))
    assert line == (
        f"server {server.address} answered ModelConfig with 100 bytes"
        " that are not the message of that call"
    )
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_too_large_a_reply(server, client):
    server.answers["ServerMetadata"] = lambda _: bytes(65 * 2**20)
    assert "with more than 64 MiB" in failure(client, ControlClient.server_metadata)


def test_a_call_that_is_never_answered(server):
    server.answers["ServerReady"] = lambda _: time.sleep(2) or b""
    with ControlClient(parse_address(server.address), deadline_s=0.5) as client:
        line = failure(client, ControlClient.ready)
    assert line == f"server {server.address} did not answer ServerReady within 0.5 s"


def test_a_first_call_that_is_never_answered_shares_the_deadline(server):
    server.answers["ServerLive"] = lambda _: time.sleep(3) or b""
    start_s = time.monotonic()
    with ControlClient(parse_address(server.address), deadline_s=0.5) as client:
        assert "did not answer ServerLive within" in failure(client, ControlClient.ready)
    assert time.monotonic() - start_s < 2


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (None, "did not answer within"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "use the gRPC port, usually 8001"),
        # HTTP/2, but nothing behind its SETTINGS
        (bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)), "did not answer ServerLive within"),
    ],
)
def test_no_grpc_there(reply, said):
    with raw_server(reply) as place:
        start_s = time.monotonic()
        with ControlClient(parse_address(place), deadline_s=1.0) as client:
            assert said in failure(client, ControlClient.live)
        assert time.monotonic() - start_s < 2.5


def test_refused():
    with closed_port() as place, ControlClient(parse_address(place)) as client:
        assert "refused the connection" in failure(client, ControlClient.live)


def test_closed_client(client):
    client.live()
    client.close()
    assert client.live()  # it connects anew
    client.close()


def test_proxy_variables_are_not_followed(server, monkeypatch):
    with closed_port() as proxy:
        for name in ("http_proxy", "grpc_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://{proxy}")
        monkeypatch.delenv("no_proxy", raising=False)
        with ControlClient(parse_address(server.address)) as client:
            assert client.live()


def test_bad_header_is_refused_before_anything_is_sent():
    with pytest.raises(UsageError, match="header 'te' is set by gRPC itself"):
        ControlClient(parse_address("localhost:1"), [("te", SecretStr("x"))])


@pytest.mark.parametrize("code", [one.name for one in grpc.StatusCode])
def test_every_code_has_a_line(code):
    line = failure_line("h:1", "ModelInfer", code, "text", 3.0, "m")
    assert line.startswith("server h:1 ")
    assert issubclass(CallError, HarnessError)


def test_pure_modules_do_not_import_grpc():
    names = (
        "units slo host untrusted load.cpus load.limits"
        " control.address control.greeting control.headers control.signature control.response"
    )
    code = f"import sys\nfor n in {names.split()}: __import__('harness.' + n)\n"
    code += "sys.exit('grpc' in sys.modules or 'tritonclient' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
