"""Servers to test the control plane against: a scripted gRPC one, and sockets that are none."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2

SERVICE = "inference.GRPCInferenceService"


def identity_metadata(max_batch_size: int = 8) -> Any:
    """FP32 [16] in INPUT0, the same out in OUTPUT0."""
    shape = [-1, 16] if max_batch_size else [16]
    metadata = service_pb2.ModelMetadataResponse(name="identity", versions=["1"], platform="python")
    metadata.inputs.add(name="INPUT0", datatype="FP32", shape=shape)
    metadata.outputs.add(name="OUTPUT0", datatype="FP32", shape=shape)
    return metadata


def identity_config(max_batch_size: int = 8) -> Any:
    config = model_config_pb2.ModelConfig(name="identity", max_batch_size=max_batch_size)
    config.input.add(name="INPUT0", data_type=model_config_pb2.TYPE_FP32, dims=[16])
    config.output.add(name="OUTPUT0", data_type=model_config_pb2.TYPE_FP32, dims=[16])
    return config


def identity_infer(request: Any) -> Any:
    """Echoes the id, and the first input as OUTPUT0."""
    reply = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
    tensor = request.inputs[0]
    reply.outputs.add(name="OUTPUT0", datatype=tensor.datatype, shape=tensor.shape)
    reply.raw_output_contents.append(request.raw_input_contents[0])
    return reply


class GrpcServer:
    """A KServe v2 server whose every answer a test can replace.

    ``answers[call]`` takes the request's bytes and gives a message, bytes, or raises Abort;
    ``requests[call]`` counts the calls, ``headers`` holds the metadata of the last one.
    """

    def __init__(self, max_batch_size: int = 8) -> None:
        self.max_batch_size = max_batch_size
        self.metadata = identity_metadata(max_batch_size)
        self.config = identity_config(max_batch_size)
        self.infer: Callable[[Any], Any] = identity_infer
        self.statistics = service_pb2.ModelStatisticsResponse()
        self.headers: dict[str, str] = {}
        self.requests: dict[str, int] = {}
        self.answers: dict[str, Callable[[bytes], Any]] = {
            "ServerLive": lambda _: service_pb2.ServerLiveResponse(live=True),
            "ServerReady": lambda _: service_pb2.ServerReadyResponse(ready=True),
            "ModelReady": lambda _: service_pb2.ModelReadyResponse(ready=True),
            "ServerMetadata": lambda _: service_pb2.ServerMetadataResponse(
                name="triton", version="2.51.0", extensions=["statistics"]
            ),
            "ModelMetadata": lambda _: self.metadata,
            "ModelConfig": lambda _: service_pb2.ModelConfigResponse(config=self.config),
            "ModelStatistics": lambda _: self.statistics,
            "ModelInfer": lambda raw: self.infer(service_pb2.ModelInferRequest.FromString(raw)),
        }
        self.address = ""
        self._server: Any = None

    def __enter__(self) -> "GrpcServer":
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8),
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
            ),
        )
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._handler(name)) for name in self.answers
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.address = f"127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait(5)

    def _handler(self, name: str) -> Callable[[bytes, Any], bytes]:
        def handle(raw: bytes, context: Any) -> bytes:
            self.requests[name] = self.requests.get(name, 0) + 1
            self.headers = {key: str(value) for key, value in context.invocation_metadata()}
            try:
                answer = self.answers[name](raw)
            except Abort as abort:
                context.abort(abort.code, abort.text)
            return answer if isinstance(answer, bytes) else bytes(answer.SerializeToString())

        return handle


class Abort(Exception):
    """Ends a call with a gRPC status."""

    def __init__(self, code: Any, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def aborting(code: Any, text: str) -> Callable[[bytes], Any]:
    """An answer that is a status."""

    def answer(_: bytes) -> Any:
        raise Abort(code, text)

    return answer


@contextlib.contextmanager
def raw_server(reply: bytes | None, close: bool = False) -> Iterator[str]:
    """Accepts connections; sends ``reply`` (None: nothing, ever) once a client has said something.

    ``close``: closes the connection after that.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()
    accepted: list[socket.socket] = []

    def serve() -> None:
        while not stopping.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            accepted.append(sock)
            if reply is not None:
                with contextlib.suppress(OSError):
                    sock.settimeout(5)
                    sock.recv(65536)
                    sock.sendall(reply)
            if close:
                sock.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopping.set()
        # A blocked accept does not notice that its socket was closed; a connection wakes it.
        with contextlib.suppress(OSError):
            socket.create_connection(listener.getsockname(), 5).close()
        for sock in accepted:
            sock.close()
        thread.join(10)
        listener.close()


@contextlib.contextmanager
def closed_port() -> Iterator[str]:
    """An address of the loopback where connections are refused, held so that nobody takes it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"
