import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from harness.datatypes import ELEMENT_BYTES
from harness.embedded.model import ModelSpec, TensorSpec
from harness.embedded.service import NOT_FOUND, OK, ControlHandler

COUNTERS = {
    "inferences": 12,
    "executions": 4,
    "succeeded": 4,
    "succeeded_ns": 400,
    "failed": 1,
    "failed_ns": 7,
    "queue_ns": 100,
    "compute_ns": 300,
    "last_ns": 0,
}


def ask(method, model=None, **request):
    handler = ControlHandler(model or ModelSpec(), 3, lambda: COUNTERS)
    message = getattr(service_pb2, f"{method}Request")(**request).SerializeToString()
    status, payload = handler(method, message)
    if status != OK:
        return status, payload.decode()
    return getattr(service_pb2, f"{method}Response").FromString(payload)


def test_every_datatype_has_a_configuration_type():
    for datatype in ELEMENT_BYTES:
        model = ModelSpec("m", (TensorSpec("x", datatype, (2,)),), (TensorSpec("y", datatype, ()),))
        config = ask("ModelConfig", model, name="m").config
        name = model_config_pb2.DataType.Name(config.input[0].data_type)
        assert name == ("TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}")


def test_statistics_are_the_counters():
    stats = ask("ModelStatistics").model_stats[0]
    assert (stats.inference_count, stats.execution_count) == (12, 4)
    inference = stats.inference_stats
    assert (inference.success.count, inference.success.ns) == (4, 400)
    assert (inference.queue.ns, inference.compute_infer.ns, inference.fail.ns) == (100, 300, 7)


def test_the_batch_dimension_is_in_the_metadata():
    model = ModelSpec(max_batch=8)
    assert list(ask("ModelMetadata", model, name="identity").inputs[0].shape) == [-1, 16]
    assert ask("ModelConfig", model, name="identity").config.max_batch_size == 8


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
@pytest.mark.parametrize("request_", [{"name": "other"}, {"name": "identity", "version": "2"}])
def test_unknown_models_are_not_found(method, request_):
    status, text = ask(method, **request_)
    assert status == NOT_FOUND
    assert text.endswith("is not found")


def test_a_malformed_message_is_an_invalid_argument():
    handler = ControlHandler(ModelSpec(), 0, lambda: COUNTERS)
    assert handler("ModelReady", b"\xff\xff")[0] == 3
