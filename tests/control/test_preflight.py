import signal
import socket
import subprocess
import sys
import threading
import time

import grpc
import pytest

from harness.config import BenchConfig, Switching
from harness.control.preflight import ServerFacts, preflight
from harness.control.probe import PATH_FLOOR_CALLS, PATH_FLOOR_S
from harness.errors import NotStartedError, UsageError
from harness.slo import parse_slo
from tests.grpc_fixture import GrpcServer, aborting, closed_port, identity_infer, raw_server


@pytest.fixture
def servers():
    with GrpcServer() as first, GrpcServer() as second:
        yield first, second


def config_of(*servers, **fields):
    urls = tuple(server.address for server in servers)
    return BenchConfig(**{"model": "identity", "urls": urls} | fields)


def failure(config, error=NotStartedError, **options):
    with pytest.raises(error) as caught:
        preflight(config, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_two_good_servers(servers):
    found = preflight(config_of(*servers, slo=parse_slo("5s")))
    assert [one.url for one in found.servers] == [one.address for one in servers]
    assert found.signature.model == "identity"
    for facts, server in zip(found.servers, servers, strict=True):
        assert (facts.name, facts.version, facts.platform) == ("triton", "2.51.0", "python")
        assert facts.model_version == "1"
        assert facts.sockaddrs[0][1] == ("127.0.0.1", int(server.address.rpartition(":")[2]))
        assert len(facts.config_sha256) == 64
        assert 0 < facts.probe_latency_ns <= 5e9
        assert 0 < facts.path_floor_ns < 5e9
        assert facts.probes == server.requests["ModelInfer"] == 1
        assert server.requests["ServerLive"] == facts.path_floor_calls + 1
        assert 1 < facts.path_floor_calls <= PATH_FLOOR_CALLS
    assert found.servers[0].config_sha256 == found.servers[1].config_sha256


def test_no_server_and_one_given_twice():
    assert "write -u host:port" in failure(BenchConfig(model="m"), UsageError)
    urls = ("localhost:8001", "LOCALHOST:8001")
    config = BenchConfig(model="m", urls=urls)
    assert failure(config, UsageError) == "server localhost:8001 is given twice; name each once"


def test_a_server_slow_to_answer_is_asked_less_often_for_its_path(servers):
    def live(_):
        time.sleep(0.1)
        return b"\x08\x01"

    servers[0].answers["ServerLive"] = live
    facts = preflight(config_of(*servers)).servers
    assert 1 <= facts[0].path_floor_calls <= PATH_FLOOR_S / 0.1 + 1
    assert facts[0].path_floor_ns >= 100e6
    assert facts[0].known()["path_floor_calls"] == facts[0].path_floor_calls
    assert facts[1].path_floor_calls > 0


def test_signatures_that_differ(servers):
    servers[1].metadata.outputs[0].shape[1] = 17
    line = failure(config_of(*servers))
    assert line.endswith("on the second, output 'OUTPUT0' is FP32[-1,17] instead of FP32[-1,16]")
    assert "ModelInfer" not in servers[0].requests


def test_batch_is_checked_on_every_server(servers):
    servers[1].config.max_batch_size = 2
    line = failure(config_of(*servers, batch=4), UsageError)
    assert line == "-b 4 is over the model's max_batch_size 2"


@pytest.mark.parametrize(
    ("call", "answer", "said"),
    [
        ("ServerReady", lambda _: b"", "is live but not ready"),
        ("ModelReady", lambda _: b"", "model 'identity' is not ready"),
        (
            "ModelMetadata",
            aborting(grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'identity'"),
            "does not know model 'identity'",
        ),
        ("ModelInfer", aborting(grpc.StatusCode.INVALID_ARGUMENT, "bad shape"), "bad shape"),
        ("ModelInfer", lambda _: b"\xff\xff", "2 bytes that are no ModelInferResponse"),
    ],
)
def test_one_server_that_is_not_fit(servers, call, answer, said):
    servers[1].answers[call] = answer
    line = failure(config_of(*servers))
    assert servers[1].address in line
    assert said in line


def test_decoupled_model(servers):
    servers[0].config.model_transaction_policy.decoupled = True
    assert "is decoupled" in failure(config_of(*servers))


def test_hostile_metadata_names_the_server(servers):
    servers[0].metadata.inputs.add(name="\x1b]0;x\x07", datatype="NOPE", shape=[-1])
    line = failure(config_of(*servers))
    assert line.startswith(f"server {servers[0].address}: model metadata: input ']0;x'")


def test_empty_outputs_name_numpy(servers):
    def infer(request):
        reply = identity_infer(request)
        reply.outputs.clear()
        reply.raw_output_contents.clear()
        return reply

    servers[0].infer = infer
    line = failure(config_of(servers[0]))
    assert "outputs are empty" in line
    assert "numpy<2" in line


def test_wrong_id(servers):
    def infer(request):
        request.id = "someone else's"
        return identity_infer(request)

    servers[0].infer = infer
    assert "echoed the id" in failure(config_of(servers[0]))


def test_probes_go_on_until_one_is_within_the_slo(servers):
    served = []

    def infer(request):
        served.append(request.id)
        if len(served) == 1:
            raise_unavailable(b"")
        if len(served) < 4:
            time.sleep(1.0)
        return identity_infer(request)

    raise_unavailable = aborting(grpc.StatusCode.UNAVAILABLE, "loading")
    servers[0].infer = infer
    found = preflight(config_of(servers[0], slo=parse_slo("700ms")))
    assert found.servers[0].probes == 4
    assert found.servers[0].probe_latency_ns <= 700e6
    assert served == [f"p{number:015x}" for number in range(4)]


def test_too_slow_for_the_slo(servers):
    def infer(request):
        time.sleep(0.05)
        return identity_infer(request)

    servers[0].infer = infer
    config = config_of(servers[0], slo=parse_slo("10ms"))
    line = failure(config, probe_limit_s=0.3)
    assert "answered no single request within the SLO of 10ms in 0.3 s; the best of" in line


def test_never_available(servers):
    servers[0].answers["ModelInfer"] = aborting(grpc.StatusCode.UNAVAILABLE, "loading")
    config = config_of(servers[0], slo=parse_slo("10ms"))
    assert failure(config, probe_limit_s=0.2).endswith("is unavailable: loading")


def test_servers_are_asked_at_once(servers):
    both = threading.Barrier(2)

    def answer(_):
        both.wait(5)
        return b"\x08\x01"

    for server in servers:
        server.answers["ServerReady"] = answer
    preflight(config_of(*servers))


def test_one_unreachable_server_among_good_ones(servers):
    with closed_port() as shut, raw_server(None) as mute:
        urls = (servers[0].address, shut, mute)
        start_s = time.monotonic()
        line = failure(BenchConfig(model="identity", urls=urls))
        assert time.monotonic() - start_s < 5
    assert line.startswith(f"server {shut} refused the connection")


def test_response_size_is_taken_from_the_probe(servers):
    def infer(request):
        reply = identity_infer(request)
        reply.parameters["note"].string_param = "x" * 5000
        return reply

    servers[1].infer = infer
    assert preflight(config_of(*servers)).payload.response_bytes_estimate > 5000


def test_an_interrupt_is_not_held_up_by_a_silent_model(servers):
    asked, release = threading.Event(), threading.Event()

    def answer(_):
        asked.set()
        release.wait(30)
        return b""

    servers[0].answers["ModelInfer"] = answer
    code = (
        "from harness.config import BenchConfig\nfrom harness.control.preflight import preflight\n"
        f"preflight(BenchConfig(model='identity', urls=('{servers[0].address}',)))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        try:
            assert asked.wait(30)
            process.send_signal(signal.SIGINT)
            start_s = time.monotonic()
            _, printed = process.communicate(timeout=20)
            assert time.monotonic() - start_s < 5
        finally:
            release.set()
            process.kill()
    assert b"KeyboardInterrupt" in printed


def any_of(*urls, **fields):
    return BenchConfig(model="identity", urls=urls, switching=Switching(require="any"), **fields)


def test_with_any_a_server_that_is_down_is_missing(servers):
    notes = []
    with closed_port() as shut:
        found = preflight(any_of(servers[0].address, shut), on_note=notes.append)
    good, missing = found.servers
    assert good.missing is None
    assert found.present == (good,)
    refused = f"server {shut} refused the connection; is it running, and is this its gRPC port?"
    assert missing == ServerFacts(
        url=shut,
        sockaddrs=((socket.AF_INET, ("127.0.0.1", int(shut.rpartition(":")[2]))),),
        missing=refused,
    )
    assert notes == [f"starting without it: {refused}"]
    known = missing.known()
    assert known["missing"] == refused
    assert known["path_floor_ns"] is known["probe_latency_ns"] is None
    assert "sockaddrs" not in known
    assert good.known()["missing"] is None


@pytest.mark.parametrize(
    ("call", "answer", "said"),
    [
        ("ServerLive", lambda _: b"", "says it is not live"),
        ("ServerReady", lambda _: b"", "is live but not ready"),
        ("ModelReady", lambda _: b"", "model 'identity' is not ready"),
        ("ModelMetadata", aborting(grpc.StatusCode.NOT_FOUND, "no"), "does not know model"),
        ("ModelConfig", aborting(grpc.StatusCode.UNAVAILABLE, "no"), "is not available"),
        ("ModelInfer", aborting(grpc.StatusCode.UNAVAILABLE, "loading"), "unavailable: loading"),
        ("ModelInfer", aborting(grpc.StatusCode.INTERNAL, "broken"), "INTERNAL: broken"),
        ("ModelInfer", lambda _: b"\xff\xff", "2 bytes that are no ModelInferResponse"),
    ],
)
@pytest.mark.parametrize("bad", [0, 1])
def test_with_any_one_good_server_is_enough(servers, bad, call, answer, said):
    servers[bad].answers[call] = answer
    config = any_of(*(server.address for server in servers))
    found = preflight(config, probe_limit_s=0.2)
    assert [one.url for one in found.servers] == [server.address for server in servers]
    assert said in found.servers[bad].missing
    assert found.servers[bad].sockaddrs[0][1][0] == "127.0.0.1"
    assert found.present == (found.servers[1 - bad],)
    assert found.servers[1 - bad].path_floor_ns > 0
    assert found.signature.model == "identity"
    assert said in failure(config_of(*servers), probe_limit_s=0.2)


def test_with_any_a_server_too_slow_is_missing(servers):
    def infer(request):
        time.sleep(0.2)
        return identity_infer(request)

    servers[1].infer = infer
    notes = []
    config = any_of(*(server.address for server in servers), slo=parse_slo("150ms"))
    found = preflight(config, probe_limit_s=0.5, on_note=notes.append)
    assert "answered no single request within the SLO of 150ms" in found.servers[1].missing
    assert notes[-1] == f"starting without it: {found.servers[1].missing}"


def test_with_any_a_mute_server_costs_one_deadline(servers):
    start_s = time.monotonic()
    with raw_server(None) as mute:
        found = preflight(any_of(mute, servers[0].address))
    assert time.monotonic() - start_s < 10
    assert mute in found.servers[0].missing
    assert found.present == (found.servers[1],)


def test_with_any_none_is_too_few(servers):
    with closed_port() as shut:
        servers[0].answers["ServerReady"] = lambda _: b""
        line = failure(any_of(shut, servers[0].address))
    assert line.startswith(f"server {shut} refused the connection")
    servers[1].answers["ModelInfer"] = aborting(grpc.StatusCode.INTERNAL, "broken")
    line = failure(any_of(servers[1].address, servers[0].address))
    assert line.endswith("INTERNAL: broken")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.metadata.outputs[0].shape.__setitem__(1, 17), "do not match"),
        (lambda one: setattr(one.metadata.outputs[0], "datatype", "NOPE"), "NOPE"),
        (
            lambda one: setattr(one.config.model_transaction_policy, "decoupled", True),
            "is decoupled",
        ),
    ],
)
def test_with_any_a_model_that_cannot_serve_the_load_is_refused(servers, change, said):
    change(servers[1])
    with closed_port() as shut:
        assert said in failure(any_of(shut, *(server.address for server in servers)))


def test_with_any_a_name_that_does_not_resolve_is_refused(servers, monkeypatch):
    look_up = socket.getaddrinfo

    def fail(host, *rest, **options):
        if host == "no.such.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    line = failure(any_of(servers[0].address, "no.such.invalid:8001"))
    assert line.startswith("server no.such.invalid:8001: its name cannot be resolved")
