"""The embedded server's RPCs other than ModelInfer, on tritonclient's messages."""

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from harness import __version__
from harness.embedded.model import ModelSpec, TensorSpec

OK = 0
INVALID_ARGUMENT = 3
NOT_FOUND = 5

SERVER_NAME = "harness-serve"
EXTENSIONS = ("model_configuration", "statistics")
MODEL_VERSION = "1"

Reply = tuple[int, bytes]
"""gRPC status, and the message; or, where the status is not OK, the text of the error."""


class Refusal(Exception):
    """A status other than OK."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class ControlHandler:
    """Answers one RPC at a time; ``counters`` gives the server's counts at the moment.

    tritonclient's messages cannot be imported without grpc, so that is done by the first call:
    a server that only answers ModelInfer never pays for it.
    """

    def __init__(
        self, model: ModelSpec, capacity: int, counters: Callable[[], Mapping[str, int]]
    ) -> None:
        self.model = model
        self.capacity = capacity
        self.counters = counters

    def __call__(self, method: str, message: bytes) -> Reply:
        """The reply to ``method`` (its name without the service) for an encoded request."""
        pb = import_module("tritonclient.grpc.service_pb2")
        request = getattr(pb, f"{method}Request")()
        try:
            request.ParseFromString(message)
        except Exception:
            return INVALID_ARGUMENT, f"malformed {method}Request".encode()
        handler = getattr(self, f"answer_{snake(method)}")
        try:
            return OK, handler(pb, request).SerializeToString()
        except Refusal as refusal:
            return refusal.status, str(refusal).encode()

    def answer_server_live(self, pb: ModuleType, request: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    def answer_server_ready(self, pb: ModuleType, request: Any) -> Any:
        return pb.ServerReadyResponse(ready=True)

    def answer_model_ready(self, pb: ModuleType, request: Any) -> Any:
        return pb.ModelReadyResponse(ready=self.offers(request))

    def answer_server_metadata(self, pb: ModuleType, request: Any) -> Any:
        return pb.ServerMetadataResponse(
            name=SERVER_NAME, version=__version__, extensions=EXTENSIONS
        )

    def answer_model_metadata(self, pb: ModuleType, request: Any) -> Any:
        self.check(request)
        response = pb.ModelMetadataResponse(
            name=self.model.name, versions=[MODEL_VERSION], platform=SERVER_NAME
        )
        lead = [-1] if self.model.max_batch else []
        for field, tensors in self.tensors(response.inputs, response.outputs):
            for tensor in tensors:
                field.add(name=tensor.name, datatype=tensor.datatype, shape=[*lead, *tensor.dims])
        return response

    def answer_model_config(self, pb: ModuleType, request: Any) -> Any:
        self.check(request)
        config_pb = import_module("tritonclient.grpc.model_config_pb2")
        response = pb.ModelConfigResponse()
        config = response.config
        config.name = self.model.name
        config.backend = SERVER_NAME
        config.max_batch_size = self.model.max_batch
        config.version_policy.latest.num_versions = 1
        for field, tensors in self.tensors(config.input, config.output):
            for tensor in tensors:
                field.add(
                    name=tensor.name,
                    data_type=config_pb.DataType.Value(config_type(tensor.datatype)),
                    dims=tensor.dims,
                )
        group = config.instance_group.add(name=f"{self.model.name}_0")
        group.kind = config_pb.ModelInstanceGroup.KIND_CPU
        group.count = max(1, self.capacity)
        return response

    def answer_model_statistics(self, pb: ModuleType, request: Any) -> Any:
        if request.name:
            self.check(request)
        counters = self.counters()
        succeeded = counters["succeeded"]
        response = pb.ModelStatisticsResponse()
        stats = response.model_stats.add(
            name=self.model.name,
            version=MODEL_VERSION,
            inference_count=counters["inferences"],
            execution_count=counters["executions"],
        )
        if counters["last_ns"]:
            age_ns = time.monotonic_ns() - counters["last_ns"]
            stats.last_inference = (time.time_ns() - age_ns) // 1_000_000
        inference = stats.inference_stats
        for duration, count, total_ns in (
            (inference.success, succeeded, counters["succeeded_ns"]),
            (inference.fail, counters["failed"], counters["failed_ns"]),
            (inference.queue, succeeded, counters["queue_ns"]),
            (inference.compute_input, succeeded, 0),
            (inference.compute_infer, succeeded, counters["compute_ns"]),
            (inference.compute_output, succeeded, 0),
        ):
            duration.count = count
            duration.ns = total_ns
        return response

    def tensors(
        self, inputs: Any, outputs: Any
    ) -> tuple[tuple[Any, tuple[TensorSpec, ...]], tuple[Any, tuple[TensorSpec, ...]]]:
        return (inputs, self.model.inputs), (outputs, self.model.outputs)

    def offers(self, request: Any) -> bool:
        return request.name == self.model.name and request.version in ("", MODEL_VERSION)

    def check(self, request: Any) -> None:
        if self.offers(request):
            return
        name, version = request.name[:64], request.version[:64]
        text = f"Request for unknown model: '{name}'"
        raise Refusal(
            NOT_FOUND,
            f"{text} version {version} is not found" if version else f"{text} is not found",
        )


def snake(method: str) -> str:
    """`ModelReady` as `model_ready`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in method).lstrip("_")


def config_type(datatype: str) -> str:
    """The name a model configuration has for a KServe datatype."""
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
