"""One real Triton server as a context manager."""

import contextlib
import itertools
import json
import os
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from harness.errors import NotStartedError
from harness.triton import keeper
from harness.triton.provision import TritonInstallation, find

CACHE_BYTES = 16 * 1024 * 1024
LOG_TAIL_BYTES = 64 * 1024
ERROR_LINE = re.compile(r"^(?:[EF]\d{4} [^\]]*\] *|error: )\"?(.+?)\"?$", re.MULTILINE)
START_TRIES = 5


class TritonServer:
    """A tritonserver process on loopback with free ports, its response cache on.

    ``with TritonServer(models) as server:`` starts it and waits until every model is ready; leaving
    the block stops it. Python-backend stubs and shared-memory segments go with it, also when it or
    this process is killed.

    model_repository: directory of models.
    installation: a provisioned Triton; default: the one ``provision.find()`` finds.
    ports: (gRPC, HTTP, metrics), to come back on known ones; default: free ones.
    cpus: CPUs for the server and its stubs.
    address_space_bytes: RLIMIT_AS of the server and of each stub (idle with 11 model instances
        the server has mapped 4.5 GB).
    log: file that the server's output is appended to; default: kept in memory for error messages.
    ready_timeout_s: how long entering the block may take.
    stop_timeout_s: how long a stop waits for the server before it is killed (by itself it takes
        about a second for each model instance).
    arguments: more command-line arguments for tritonserver.

    Raises NotStartedError: Triton is not provisioned, a model does not load, not ready in time.
    """

    def __init__(
        self,
        model_repository: str | os.PathLike[str],
        *,
        installation: TritonInstallation | None = None,
        ports: tuple[int, int, int] | None = None,
        cpus: Iterable[int] | None = None,
        address_space_bytes: int | None = None,
        log: str | os.PathLike[str] | None = None,
        ready_timeout_s: float = 60.0,
        stop_timeout_s: float = 1.0,
        arguments: Sequence[str] = (),
    ) -> None:
        self.model_repository = Path(model_repository).absolute()
        self.installation = installation
        self.ports = ports or (0, 0, 0)
        self.log_path = Path(log) if log is not None else None
        self.server_id = ""
        self.pid = 0
        self._fixed_ports = ports is not None
        self._cpus = sorted(cpus) if cpus is not None else None
        self._address_space_bytes = address_space_bytes
        self._ready_timeout_s = ready_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._arguments = list(arguments)
        self._keeper: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._log: IO[bytes] | None = None
        self._log_start = 0

    @property
    def grpc_url(self) -> str:
        """host:port of the gRPC service."""
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def http_url(self) -> str:
        """host:port of the HTTP service."""
        return f"127.0.0.1:{self.ports[1]}"

    @property
    def metrics_url(self) -> str:
        """URL of the metrics page."""
        return f"http://127.0.0.1:{self.ports[2]}/metrics"

    @property
    def _shm_prefix(self) -> str:
        return f"{self.server_id}-"

    @property
    def running(self) -> bool:
        """Whether the process lives (paused counts)."""
        return self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]

    def __enter__(self) -> Self:
        deadline = time.monotonic() + self._ready_timeout_s
        try:
            for tries_left in reversed(range(START_TRIES)):
                self.start()
                try:
                    self.wait_ready(deadline - time.monotonic())
                    return self
                except NotStartedError:
                    taken = "already in use" in self.log_tail()
                    if self.running or self._fixed_ports or not taken or not tries_left:
                        raise
                    self.stop()
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

    def start(self) -> None:
        """Start the process; does not wait until it is ready."""
        if self._keeper is not None:
            raise NotStartedError(f"this Triton server runs already, pid {self.pid}; stop it first")
        installation = self.installation or find()
        if installation is None:
            raise NotStartedError(
                "no Triton server is provisioned here; run: python -m harness.triton.provision"
            )
        if not self.model_repository.is_dir():
            raise NotStartedError(
                f"no model repository at {self.model_repository}; name a directory"
            )
        if not self._fixed_ports:
            self.ports = _free_ports()
        self.server_id = f"harness-triton-{os.getpid()}-{secrets.token_hex(6)}"
        order = {
            "argv": self._argv(installation),
            "env": installation.environment(),
            "parent_pid": os.getpid(),
            "shm_prefix": self._shm_prefix,
            "cpus": self._cpus,
            "address_space_bytes": self._address_space_bytes,
            "grace_s": self._stop_timeout_s,
        }
        self._open_log()
        # A session of its own keeps the terminal's interrupt away from the server.
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(keeper.__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd="/",
            start_new_session=True,
        )
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(json.dumps(order).encode() + b"\n")
        self._keeper.stdin.flush()
        told = self._told(10.0)
        if "pid" not in told:
            reason = told.get("error") or self.log_tail() or "no reason given"
            self.stop()
            raise NotStartedError(f"cannot start {installation.executable}: {reason}")
        self.pid = told["pid"]
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(self.pid)

    def wait_ready(self, deadline_s: float | None = None) -> None:
        """Wait until the server and all its models are ready, at most ``deadline_s`` seconds.

        Raises NotStartedError with the end of the server's log.
        """
        seconds = self._ready_timeout_s if deadline_s is None else deadline_s
        deadline = time.monotonic() + seconds
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        for pause_s in itertools.chain((0.05,) * 40, itertools.repeat(0.2)):
            if not self.running:
                raise NotStartedError(f"Triton ended before it was ready: {self._last_words()}")
            if time.monotonic() >= deadline:
                raise NotStartedError(
                    f"Triton was not ready after {seconds:.1f} s: {self._last_words()}"
                )
            # A new channel each time: the back-off of a refused one reaches seconds.
            with grpc.insecure_channel(self.grpc_url, options=options) as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                with contextlib.suppress(grpc.RpcError):
                    timeout_s = max(0.05, min(1.0, deadline - time.monotonic()))
                    if stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=timeout_s).ready:
                        asked = service_pb2.ServerMetadataRequest()
                        # Another server may have taken the port in the meantime.
                        if stub.ServerMetadata(asked, timeout=timeout_s).name == self.server_id:
                            return
            select.select([self._pidfd], [], [], pause_s)

    def stop(self) -> None:
        """End the server (paused or not), its stubs and its segments. Twice is once."""
        process, self._keeper = self._keeper, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            # Closing alone says nothing while a forked child of ours holds a copy.
            process.stdin.write(b"s")
            process.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(self._stop_timeout_s + 10.0)
        except subprocess.TimeoutExpired:
            process.kill()  # takes the server with it
            process.wait()
        process.stdout.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if self._log is not None:
            self._log.close()
            self._log = None

    def kill(self) -> None:
        """End the server as SIGKILL from outside would; returns when nothing of it is left."""
        self._signal(signal.SIGKILL, stubs=False)
        self.stop()

    def pause(self, *, stubs: bool = True) -> None:
        """SIGSTOP: the server keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP, stubs)

    def resume(self, *, stubs: bool = True) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT, stubs)

    def log_tail(self, limit_bytes: int = LOG_TAIL_BYTES) -> str:
        """The last of what the server printed since its start; empty when it is stopped."""
        if self._log is None:
            return ""
        number = self._log.fileno()
        size = os.fstat(number).st_size
        start = max(self._log_start, size - limit_bytes)
        return os.pread(number, size - start, start).decode(errors="replace")

    def _signal(self, number: signal.Signals, stubs: bool) -> None:
        if not self.running:
            raise NotStartedError("this Triton server does not run; start it first")
        if stubs:
            os.killpg(self.pid, number)
        else:
            signal.pidfd_send_signal(self._pidfd, number)

    def _argv(self, installation: TritonInstallation) -> list[str]:
        grpc_port, http_port, metrics_port = self.ports
        return [
            str(installation.executable),
            f"--id={self.server_id}",
            f"--model-repository={self.model_repository}",
            f"--backend-directory={installation.backends}",
            f"--cache-directory={installation.caches}",
            f"--cache-config=local,size={CACHE_BYTES}",
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
            *(f"--{service}-address=127.0.0.1" for service in ("grpc", "http", "metrics")),
            f"--grpc-port={grpc_port}",
            f"--http-port={http_port}",
            f"--metrics-port={metrics_port}",
            f"--exit-timeout-secs={max(1, int(self._stop_timeout_s))}",
            *self._arguments,
        ]

    def _open_log(self) -> None:
        if self.log_path is None:
            self._log = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._log = os.fdopen(os.open(self.log_path, flags, 0o600), "r+b", buffering=0)
        self._log_start = os.fstat(self._log.fileno()).st_size

    def _told(self, timeout_s: float) -> dict[str, Any]:
        """The keeper's next line; empty if it said nothing in time."""
        assert self._keeper is not None
        assert self._keeper.stdout is not None
        if not select.select([self._keeper.stdout], [], [], timeout_s)[0]:
            return {}
        line = self._keeper.stdout.readline()
        message: dict[str, Any] = json.loads(line) if line else {}
        return message

    def _last_words(self) -> str:
        """What the log says went wrong, else its last lines; printable, in one line."""
        log = self.log_tail()
        lines = ERROR_LINE.findall(log)
        lines = [line for line in lines if "CudaDriverHelper" not in line]  # on any machine without
        lines = lines or [line for line in log.splitlines() if line.strip()]
        text = " | ".join(line.split("\\n")[0][:250] for line in lines[-3:])
        return "".join(c if c.isprintable() else " " for c in text) or "it printed nothing"


def _free_ports() -> tuple[int, int, int]:
    """Three different ports nobody listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        first, second, third = (each.getsockname()[1] for each in sockets)
    return first, second, third
