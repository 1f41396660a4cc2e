"""The servers that are loaded: real Triton and the embedded one, each on the server's CPU."""

import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from benchmarks.suite.limits import GB, ROOT, MemoryWatch
from harness.embedded.model import ModelSpec, TensorSpec
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.errors import NotStartedError
from harness.triton.server import TritonServer

EXAMPLES = ROOT / "examples" / "models"
IMAGE = "3,224,224"
IMAGE_BYTES = 3 * 224 * 224 * 4
SERVER_MEMORY_BYTES = 8 * GB
HEALTHY_S = 0.25
IN_A_ROW = 3
HEALTH_WAIT_S = 10.0
CALL_S = 2.0


class Asking:
    """Single requests to a server over tritonclient, each with a deadline."""

    def __init__(self, url: str, model: str) -> None:
        self._client = grpcclient.InferenceServerClient(url)
        self._model = model
        self._inputs: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def latency_s(self, timeout_s: float = CALL_S) -> float | None:
        """Of one request; None if it was not answered."""
        start_s = time.monotonic()
        try:
            if not self._inputs:
                self._inputs = self._make_inputs(timeout_s)
            start_s = time.monotonic()
            self._client.infer(self._model, self._inputs, client_timeout=timeout_s)
        except InferenceServerException:
            return None
        return time.monotonic() - start_s

    def executed(self) -> int | None:
        """Requests the server answered since its start, by its own count; None: it does not say."""
        try:
            told = self._client.get_inference_statistics(self._model, client_timeout=CALL_S)
        except InferenceServerException:
            return None
        count: int = sum(one.inference_stats.success.count for one in told.model_stats)
        return count

    def _make_inputs(self, timeout_s: float) -> list[Any]:
        metadata = self._client.get_model_metadata(self._model, client_timeout=timeout_s)
        inputs = []
        for one in metadata.inputs:
            tensor = grpcclient.InferInput(one.name, list(one.shape), one.datatype)
            tensor.set_data_from_numpy(np.zeros(list(one.shape), np.float32))
            inputs.append(tensor)
        return inputs


class Served:
    """A server with one model, for a ``with`` block; ``name`` as in tables.

    It is restarted by ``fresh`` where the run before has left it dead or deaf, and killed over
    8 GB of resident memory. Raises NotStartedError.
    """

    def __init__(self, name: str, model: str) -> None:
        self.name, self.model = name, model
        self._watch: MemoryWatch | None = None

    @property
    def url(self) -> str:
        """host:port."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Of the server."""
        raise NotImplementedError

    def start(self) -> None:
        """Returns when the server is ready."""
        self._start()
        self._watch = MemoryWatch(self.pid, SERVER_MEMORY_BYTES, self._kill)
        self._watch.start()

    def stop(self) -> None:
        """Twice is once."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        self._stop()

    def fresh(self) -> None:
        """Wait until it answers as if idle, three times; if it does not in 10 s, start it anew."""
        deadline_s = time.monotonic() + HEALTH_WAIT_S
        row = 0
        with Asking(self.url, self.model) as asking:
            while time.monotonic() < deadline_s and self.killed_at_bytes is None:
                latency_s = asking.latency_s()
                row = row + 1 if latency_s is not None and latency_s < HEALTHY_S else 0
                if row == IN_A_ROW:
                    return
                time.sleep(0.05)
        self.restart()

    def restart(self) -> None:
        """A new server in its place, with another port and pid."""
        self.stop()
        self.start()

    @property
    def peak_rss_bytes(self) -> int:
        """Largest resident memory seen since its start, stubs included."""
        return self._watch.peak_bytes if self._watch else 0

    @property
    def killed_at_bytes(self) -> int | None:
        """Resident memory at which it was killed, or None."""
        return self._watch.killed_at_bytes if self._watch else None

    def executed(self) -> int | None:
        """As Asking.executed."""
        with Asking(self.url, self.model) as asking:
            return asking.executed()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        raise NotImplementedError

    def _stop(self) -> None:
        raise NotImplementedError

    def _kill(self) -> None:
        raise NotImplementedError


class ServedTriton(Served):
    """Real Triton with one of the example models; ``dims`` in place of the model's own 16."""

    def __init__(self, name: str, model: str, cpu: int, dims: str = "") -> None:
        super().__init__(name, model)
        self._cpu, self._dims = cpu, dims
        self._server: TritonServer | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def url(self) -> str:
        return self._running().grpc_url

    @property
    def pid(self) -> int:
        return self._running().pid

    def _running(self) -> TritonServer:
        if self._server is None:
            raise NotStartedError("this Triton server does not run; start it first")
        return self._server

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        model = Path(self._folder.name) / self.model
        shutil.copytree(EXAMPLES / self.model, model, ignore=shutil.ignore_patterns("__pycache__"))
        if self._dims:
            config = model / "config.pbtxt"
            config.write_text(config.read_text().replace("[ 16 ]", f"[ {self._dims} ]"))
        self._server = TritonServer(self._folder.name, cpus=[self._cpu])
        self._server.__enter__()

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    def _kill(self) -> None:
        with contextlib.suppress(NotStartedError):
            self._running().kill()


class ServedEmbedded(Served):
    """The embedded server with an identity model."""

    def __init__(self, cpu: int, dims: tuple[int, ...] = (16,)) -> None:
        super().__init__("embedded server", "identity")
        tensors = [TensorSpec(name, "FP32", dims) for name in ("INPUT0", "OUTPUT0")]
        model = ModelSpec("identity", (tensors[0],), (tensors[1],))
        self._server = EmbeddedServer(ServeConfig(cpu=cpu, model=model))

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def pid(self) -> int:
        return self._server.pid

    def _start(self) -> None:
        self._server.start()

    def _stop(self) -> None:
        self._server.stop()

    def _kill(self) -> None:
        process = self._server.process
        if process is not None:
            process.kill()


def triton_cached(cpu: int) -> Served:
    """Triton with the identity model behind its response cache."""
    return ServedTriton("Triton, cached", "identity_cached", cpu)
