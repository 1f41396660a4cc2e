import errno
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from harness.embedded.model import ModelSpec, TensorSpec, parse_model
from harness.embedded.server import (
    EmbeddedServer,
    ServeConfig,
    main,
    parse_arguments,
    parse_latency,
)
from harness.errors import NotStartedError, UsageError
from tests.h2wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    Wire,
    encode_request,
    frame,
    grpc_frame,
    infer_message,
    literal,
    request_headers,
)

VALUES = np.arange(16, dtype=np.float32)


@pytest.fixture(scope="module")
def server():
    with EmbeddedServer() as running:
        yield running


def client(running):
    return triton.InferenceServerClient(running.url)


def tensor(values, name="INPUT0", datatype="FP32"):
    given = triton.InferInput(name, values.shape, datatype)
    given.set_data_from_numpy(values)
    return given


def status_of(call):
    with pytest.raises(InferenceServerException) as error:
        call()
    return error.value.status(), error.value.message()


def stub(running):
    return service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(running.url))


def code_of(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code()


def gone(pid, within_s=5.0):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


# tritonclient and grpcio


def test_tritonclient_runs_the_control_plane(server):
    c = client(server)
    assert c.is_server_live()
    assert c.is_server_ready()
    assert c.is_model_ready("identity")
    assert not c.is_model_ready("other")
    assert not c.is_model_ready("identity", "7")
    assert "statistics" in c.get_server_metadata().extensions
    assert list(c.get_model_metadata("identity").inputs[0].shape) == [16]
    assert c.get_model_config("identity").config.output[0].name == "OUTPUT0"


def test_infer_echoes_values_and_id(server):
    result = client(server).infer("identity", [tensor(VALUES)], request_id="slot-1")
    assert np.array_equal(result.as_numpy("OUTPUT0"), VALUES)
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("slot-1", "identity", "1")


def test_a_known_version_and_output_may_be_named(server):
    result = client(server).infer(
        "identity",
        [tensor(VALUES)],
        model_version="1",
        outputs=[triton.InferRequestedOutput("OUTPUT0")],
    )
    assert np.array_equal(result.as_numpy("OUTPUT0"), VALUES)


def test_refusals_have_tritons_status(server):
    c = client(server)
    not_found, invalid = "StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT"
    for expected, text, call in (
        (not_found, "'other'", lambda: c.infer("other", [tensor(VALUES)])),
        (not_found, "version 2", lambda: c.infer("identity", [tensor(VALUES)], model_version="2")),
        (not_found, "'other'", lambda: c.get_model_metadata("other")),
        (invalid, "INPUT9", lambda: c.infer("identity", [tensor(VALUES, "INPUT9")])),
        (
            invalid,
            "INT32",
            lambda: c.infer("identity", [tensor(VALUES.astype(np.int32), datatype="INT32")]),
        ),
        (invalid, "shape", lambda: c.infer("identity", [tensor(VALUES[:8])])),
        (invalid, "expected 1 inputs but got 0", lambda: c.infer("identity", [])),
        (
            invalid,
            "'nope'",
            lambda: c.infer(
                "identity", [tensor(VALUES)], outputs=[triton.InferRequestedOutput("nope")]
            ),
        ),
    ):
        status, message = status_of(call)
        assert status == expected
        assert text in message


def test_shared_memory_is_refused(server):
    given = triton.InferInput("INPUT0", [16], "FP32")
    given.set_shared_memory("region", 64)
    status, message = status_of(lambda: client(server).infer("identity", [given]))
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "shared-memory" in message


def test_typed_contents_are_refused(server):
    request = service_pb2.ModelInferRequest(model_name="identity")
    given = request.inputs.add(name="INPUT0", datatype="FP32", shape=[16])
    given.contents.fp32_contents.extend(VALUES)
    code = code_of(lambda: stub(server).ModelInfer(request, timeout=10))
    assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_raw_contents_of_the_wrong_length_are_refused(server):
    request = service_pb2.ModelInferRequest.FromString(infer_message())
    request.raw_input_contents[0] = bytes(60)
    code = code_of(lambda: stub(server).ModelInfer(request, timeout=10))
    assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_methods_it_does_not_have_are_unimplemented(server):
    calls = stub(server)
    request = service_pb2.RepositoryIndexRequest()
    unimplemented = grpc.StatusCode.UNIMPLEMENTED
    assert code_of(lambda: calls.RepositoryIndex(request, timeout=10)) == unimplemented
    stream = calls.ModelStreamInfer(iter([service_pb2.ModelInferRequest()]), timeout=10)
    assert code_of(lambda: next(stream)) == unimplemented


def test_a_streaming_call_is_refused_before_it_half_closes(server):
    with Wire(server.url) as wire:
        path = b"/inference.GRPCInferenceService/ModelStreamInfer"
        wire.send(frame(HEADERS, END_HEADERS, 1, request_headers(path)))
        frames = wire.until_end_of(1)
        assert frames[-1].kind == HEADERS
        assert wire.until_end_of(1)[-1].kind == RST_STREAM


def test_other_content_is_http_415(server):
    with Wire(server.url) as wire:
        headers = request_headers(content_type=b"text/plain")
        wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, headers))
        frames = wire.until_end_of(1)
        assert len(frames) == 1
        assert b"415" in frames[0].payload or b"\x68\x2f" in frames[0].payload


def test_600_kilobytes_there_and_back():
    model = parse_model("image", ["INPUT0:FP32:-1,3,224,224"], ["OUTPUT0:FP32:-1,3,224,224"], 0)
    values = np.random.default_rng(1).random((1, 3, 224, 224), dtype=np.float32)
    with EmbeddedServer(ServeConfig(model=model)) as running:
        c = client(running)
        for _ in range(3):
            result = c.infer("image", [tensor(values)])
            assert np.array_equal(result.as_numpy("OUTPUT0"), values)
        large = np.zeros((70, 3, 224, 224), dtype=np.float32)  # 42 MB
        assert c.infer("image", [tensor(large)]).as_numpy("OUTPUT0").shape == large.shape


def test_outputs_unlike_their_input_are_zeros_of_the_declared_shape():
    model = parse_model(
        "m",
        ["A:FP32:-1", "B:BYTES:2", "C:INT8:4"],
        ["A:INT64:-1,2", "B:BYTES:2", "D:FP16:3"],
        4,
    )
    with EmbeddedServer(ServeConfig(model=model)) as running:
        words = np.array([[b"one", b"two"]] * 3, dtype=object)
        result = client(running).infer(
            "m",
            [
                tensor(np.ones((3, 1), np.int8).repeat(4, 1), "C", "INT8"),
                tensor(np.ones((3, 5), np.float32), "A"),
                tensor(words, "B", "BYTES"),
            ],
        )
        assert result.as_numpy("A").shape == (3, 5, 2)
        assert not result.as_numpy("A").any()
        assert np.array_equal(result.as_numpy("B"), words)
        assert result.as_numpy("D").shape == (3, 3)
        stats = client(running).get_inference_statistics("m").model_stats[0]
        assert (stats.inference_count, stats.execution_count) == (3, 1)
        too_many = [
            tensor(np.ones((5, 4), np.int8), "C", "INT8"),
            tensor(np.ones((5, 5), np.float32), "A"),
            tensor(np.array([[b"", b""]] * 5, dtype=object), "B", "BYTES"),
        ]
        status, _ = status_of(lambda: client(running).infer("m", too_many))
        assert status == "StatusCode.INVALID_ARGUMENT"


def test_grpcio_with_many_calls_at_once(server):
    calls = stub(server)
    requests = [
        service_pb2.ModelInferRequest.FromString(infer_message(f"call-{i}")) for i in range(500)
    ]
    futures = [calls.ModelInfer.future(request, timeout=30) for request in requests]
    assert [future.result().id for future in futures] == [request.id for request in requests]


def test_thousands_of_streams_at_once():
    count = 5000
    with (
        EmbeddedServer(ServeConfig(latency="200ms")) as running,
        Wire(running.url, timeout_s=30) as wire,
    ):
        wire.send(
            b"".join(wire.request(2 * i + 1, infer_message(f"{i:08d}")) for i in range(count))
        )
        ids = {}
        bodies = {}
        while len(ids) < count:
            got = wire.next_frame()
            assert got is not None
            if got.kind == DATA:
                bodies[got.stream] = bodies.get(got.stream, b"") + got.payload
            elif got.kind == HEADERS and got.flags & END_STREAM:
                message = service_pb2.ModelInferResponse.FromString(bodies[got.stream][5:])
                ids[got.stream] = message.id
        assert ids == {2 * i + 1: f"{i:08d}" for i in range(count)}


# Service


def test_statistics_count_what_was_asked():
    with EmbeddedServer(ServeConfig(latency="5ms")) as running:
        c = client(running)
        for _ in range(10):
            c.infer("identity", [tensor(VALUES)])
        status_of(lambda: c.infer("other", [tensor(VALUES)]))
        stats = c.get_inference_statistics("identity").model_stats[0]
    assert (stats.inference_count, stats.execution_count) == (10, 10)
    assert stats.inference_stats.success.count == 10
    assert stats.inference_stats.fail.count == 1
    assert stats.inference_stats.compute_infer.ns == 10 * 5_000_000
    assert stats.inference_stats.queue.ns == 0
    assert abs(stats.last_inference / 1000 - time.time()) < 60


def test_capacity_makes_a_queue():
    # 20 requests in one write, 2 slots of 20 ms: the k-th ends after (k // 2 + 1) * 20 ms.
    with (
        EmbeddedServer(ServeConfig(latency="20ms", capacity=2)) as running,
        Wire(running.url) as wire,
    ):
        start = time.monotonic()
        wire.send(b"".join(wire.request(2 * k + 1) for k in range(20)))
        ends = []
        for k in range(20):
            wire.until_end_of(2 * k + 1)
            ends.append(time.monotonic() - start)
        stats = client(running).get_inference_statistics("identity").model_stats[0].inference_stats
    for k, end in enumerate(ends):
        assert end >= (k // 2 + 1) * 0.020
    assert ends[-1] < 0.2 + 1.0
    assert stats.queue.ns == pytest.approx(2 * 0.020e9 * sum(range(10)), rel=0.05)
    assert stats.compute_infer.ns == 20 * 20_000_000


def test_a_cancelled_request_is_served_all_the_same():
    with (
        EmbeddedServer(ServeConfig(latency="50ms", capacity=1)) as running,
        Wire(running.url) as wire,
    ):
        wire.send(wire.request(1) + wire.request(3) + wire.request(5))
        wire.send(frame(RST_STREAM, 0, 1, struct.pack(">I", 8)))
        wire.send(frame(RST_STREAM, 0, 3, struct.pack(">I", 8)))
        wire.until_end_of(5)
        stats = client(running).get_inference_statistics("identity").model_stats[0]
    assert stats.execution_count == 3
    assert stats.inference_stats.queue.ns >= 140_000_000


def test_lognormal_latency_has_the_mean_its_percentiles_imply():
    config = ServeConfig(latency="lognormal:2ms,20ms", seed=3)
    with EmbeddedServer(config) as running, Wire(running.url) as wire:
        count = 4000
        wire.send(b"".join(wire.request(2 * i + 1) for i in range(count)))
        end_all(wire, count)
        stats = client(running).get_inference_statistics("identity").model_stats[0].inference_stats
    # The mean of a lognormal is p50 exp(sigma^2 / 2): 3.26 ms here.
    sigma = np.log(10) / 2.3263
    mean_ns = stats.compute_infer.ns / count
    assert mean_ns == pytest.approx(2e6 * np.exp(sigma**2 / 2), rel=0.1)


def end_all(wire, count):
    """Reads until ``count`` streams have ended."""
    while count:
        got = wire.next_frame()
        assert got is not None
        count -= bool(got.kind == HEADERS and got.flags & END_STREAM)


def test_the_seed_fixes_the_service_times():
    def total_ns(seed):
        config = ServeConfig(latency="lognormal:1ms,4ms", seed=seed)
        with EmbeddedServer(config) as running, Wire(running.url) as wire:
            wire.send(b"".join(wire.request(2 * i + 1) for i in range(50)))
            end_all(wire, 50)
            stats = client(running).get_inference_statistics("identity").model_stats[0]
            return stats.inference_stats.compute_infer.ns

    assert total_ns(5) == total_ns(5) != total_ns(6)


# Hostile clients


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


# The process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("script", ["", "0s: hang"])
def test_signals_end_it_cleanly_and_quickly(number, script):
    with EmbeddedServer(ServeConfig(script=script)) as running, Wire(running.url) as wire:
        wire.send(wire.request(1))
        if not script:
            wire.until_end_of(1)
        process = running.process
        start = time.monotonic()
        process.send_signal(number)
        assert process.wait(5) == 0
        assert time.monotonic() - start < 2


def test_it_dies_with_its_parent():
    code = (
        "import sys, time\n"
        "from harness.embedded.server import EmbeddedServer\n"
        "with EmbeddedServer() as server:\n"
        "    print(server.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    assert gone(pid)


def test_stop_ends_a_stopped_server_too():
    running = EmbeddedServer()
    running.start()
    pid = running.pid
    os.kill(pid, signal.SIGSTOP)
    assert running.stop(timeout_s=0.2) == -signal.SIGKILL
    assert running.stop() is None
    assert gone(pid)
    with pytest.raises(NotStartedError):
        assert running.pid


def test_a_port_in_use_is_said(server):
    port = int(server.url.split(":")[1])
    with (
        pytest.raises(NotStartedError, match=r"Address already in use"),
        EmbeddedServer(ServeConfig(port=port)),
    ):
        pass


def test_a_journal_that_cannot_be_is_said(tmp_path):
    with (
        pytest.raises(NotStartedError, match="No such file"),
        EmbeddedServer(ServeConfig(journal=str(tmp_path / "none" / "journal"))),
    ):
        pass


def test_spin_and_cpu():
    with EmbeddedServer(ServeConfig(spin=True, cpu=0)) as running:
        assert psutil.Process(running.pid).cpu_affinity() == [0]
        client(running).infer("identity", [tensor(VALUES)])


def test_ipv6():
    with socket.socket(socket.AF_INET6) as probe:
        if probe.connect_ex(("::1", 9)) not in (0, errno.ECONNREFUSED):
            with pytest.raises(NotStartedError), EmbeddedServer(ServeConfig(host="::1")):
                pass
            return
    with EmbeddedServer(ServeConfig(host="::1")) as running:
        assert running.url.startswith("[::1]:")
        assert client(running).is_server_live()


def test_an_idle_server_imports_no_grpc():
    code = (
        "import sys, harness.embedded.server; print('grpc' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_threads_share_a_server(server):
    failures = []

    def work():
        try:
            for _ in range(20):
                client(server).infer("identity", [tensor(VALUES)])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []


# Configuration


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--latency=fast"], "'fast'"),
        (["--latency=lognormal:5ms"], "lognormal"),
        (["--latency=lognormal:5ms,1ms"], "p50 <= p99"),
        (["--script=1s: explode"], "'explode'"),
        (["--port=70000"], "70000"),
        (["--port=x"], "'x'"),
        (["--capacity=-1"], "-1"),
        (["--cpu=4096"], "4096"),
        (["--input=INPUT0"], "NAME:DATATYPE:DIMS"),
        (["--max-request-bytes=1"], "max-request-bytes 1"),
        (["--bogus"], "--bogus"),
    ],
)
def test_bad_options_are_one_line_and_exit_2(options, part, capsys):
    assert main(options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("harness serve: ")
    assert part in error


def test_a_configuration_travels_by_argv():
    config = ServeConfig(
        host="::1",
        port=99,
        model=ModelSpec(
            "m", (TensorSpec("a", "INT8", (-1, 2)),), (TensorSpec("b", "BYTES", ()),), 3
        ),
        latency="lognormal:1ms,2ms",
        capacity=4,
        seed=9,
        script="1s: hang; 2s: ok",
        journal="/tmp/x y",
        cpu=0,
        spin=True,
        max_request_bytes=2048,
        max_connections=7,
    )
    assert parse_arguments(config.argv()) == (config, None)
    assert parse_arguments([*ServeConfig().argv(), "--parent=5"]) == (ServeConfig(), 5)


def test_latencies():
    assert parse_latency("20ms") == (20_000_000, 0.0, -1.0)
    fixed_ns, mu, sigma = parse_latency("lognormal:1ms,1ms")
    assert (fixed_ns, sigma) == (0, 0)
    assert mu == pytest.approx(np.log(1e6))
    with pytest.raises(UsageError):
        parse_latency("lognormal:0,5ms")
