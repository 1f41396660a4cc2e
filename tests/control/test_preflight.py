import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest

from harness.config import BenchConfig
from harness.control.preflight import preflight
from harness.control.probe import PATH_FLOOR_CALLS
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
        assert server.requests["ServerLive"] == PATH_FLOOR_CALLS + 1
    assert found.servers[0].config_sha256 == found.servers[1].config_sha256


def test_no_server_and_one_given_twice():
    assert "write -u host:port" in failure(BenchConfig(model="m"), UsageError)
    urls = ("localhost:8001", "LOCALHOST:8001")
    config = BenchConfig(model="m", urls=urls)
    assert failure(config, UsageError) == "server localhost:8001 is given twice; name each once"


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
