"""The embedded server as tritonclient and grpcio see it."""

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2

from harness.embedded.model import parse_model
from harness.embedded.server import (
    EmbeddedServer,
    ServeConfig,
)
from tests.embedded.asking import VALUES, client, code_of, status_of, stub, tensor
from tests.h2wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    Wire,
    frame,
    infer_message,
    request_headers,
)


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
