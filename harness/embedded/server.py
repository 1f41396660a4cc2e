"""The embedded inference server: its configuration, the blocking call, and a child process."""

import argparse
import math
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from types import FrameType, TracebackType
from typing import Any, BinaryIO, NoReturn

from harness._server import Server, die_with_parent
from harness.datatypes import ELEMENT_BYTES
from harness.embedded.model import ModelSpec, TensorSpec, parse_model
from harness.embedded.script import parse_script
from harness.embedded.service import ControlHandler
from harness.errors import HarnessError, NotStartedError, UsageError
from harness.units import parse_duration_ns

Z99 = 2.3263478740408408  # the 99th percentile of a standard normal variable


@dataclass(frozen=True)
class ServeConfig:
    """What one embedded server is. Texts are spelled as on the command line.

    Raises:
        UsageError: a value cannot be meant as given.
    """

    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one
    model: ModelSpec = field(default_factory=ModelSpec)
    latency: str = "0"  # "20ms" or "lognormal:p50,p99"
    capacity: int = 0  # requests served at once; 0: without limit
    seed: int = 1
    script: str = ""
    journal: str | None = None
    cpu: int | None = None
    spin: bool = False
    max_request_bytes: int = 64 * 1024 * 1024
    max_connections: int = 1024

    def __post_init__(self) -> None:
        parse_latency(self.latency)
        parse_script(self.script)
        for name, value, low, high in (
            ("port", self.port, 0, 65535),
            ("capacity", self.capacity, 0, 2**31 - 1),
            ("seed", self.seed, 0, 2**64 - 1),
            ("max-request-bytes", self.max_request_bytes, 1024, 2**30),
            ("max-connections", self.max_connections, 1, 65536),
        ):
            if not low <= value <= high:
                raise UsageError(f"--{name} {value}: not in {low}..{high}")
        last_cpu = (os.cpu_count() or 1) - 1
        if self.cpu is not None and not 0 <= self.cpu <= last_cpu:
            raise UsageError(f"--cpu {self.cpu}: this machine has CPUs 0..{last_cpu}")

    def argv(self) -> list[str]:
        """The options that parse_arguments reads back to an equal configuration."""
        options = [f"--model={self.model.name}", f"--max-batch={self.model.max_batch}"]
        options += [f"--input={tensor}" for tensor in self.model.inputs]
        options += [f"--output={tensor}" for tensor in self.model.outputs]
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name in ("model", "spin") or value is None:
                continue
            options.append(f"--{entry.name.replace('_', '-')}={value}")
        return [*options, "--spin"] if self.spin else options


def parse_latency(text: str) -> tuple[int, float, float]:
    """`20ms` or `lognormal:p50,p99` as (fixed_ns, mu, sigma of ln ns); sigma -1 if fixed.

    Raises:
        UsageError: naming the part that cannot be read.
    """
    if not text.startswith("lognormal:"):
        return parse_duration_ns(text), 0.0, -1.0
    parts = text.removeprefix("lognormal:").split(",")
    if len(parts) != 2:
        raise UsageError(f"latency {text!r}: write lognormal:p50,p99, as lognormal:5ms,20ms")
    p50_ns, p99_ns = map(parse_duration_ns, parts)
    if not 0 < p50_ns <= p99_ns:
        raise UsageError(f"latency {text!r}: needs 0 < p50 <= p99")
    return 0, math.log(p50_ns), math.log(p99_ns / p50_ns) / Z99


def serve(config: ServeConfig, listening: Callable[[int], None] | None = None) -> None:
    """Serves until SIGINT or SIGTERM; ``listening`` is called once with the port.

    Blocks the calling thread, which must be the main one: its signal handlers are
    replaced until the call returns.

    Raises:
        NotStartedError: the port, the journal or the CPU cannot be had.
        HarnessError: the journal or the port was lost while serving.
    """
    if config.cpu is not None:
        try:
            os.sched_setaffinity(0, {config.cpu})
        except OSError as error:
            raise NotStartedError(f"cannot run on CPU {config.cpu}: {error.strerror}") from None
    allow_descriptors(config.max_connections + 64)
    try:
        server = make_server(config)
    except OSError as error:
        what = error.filename or f"{config.host}:{config.port}"
        raise NotStartedError(f"cannot serve on {what}: {error.strerror}") from None
    try:
        with SignalsTo(server):
            if listening is not None:
                listening(server.port)
            server.run()
    except OSError as error:
        raise HarnessError(f"the server stopped: {error.strerror}") from None
    finally:
        server.close()


def allow_descriptors(count: int) -> None:
    """Raises the soft limit to ``count``, or as near as the hard one lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def make_server(config: ServeConfig) -> Server:
    """The extension's server, bound and listening, not yet running. Raises OSError."""

    def answer(method: str, message: bytes) -> tuple[int, bytes]:
        return control(method, message)

    def tensor(spec: TensorSpec) -> tuple[str, str, int, tuple[int, ...]]:
        return spec.name, spec.datatype, ELEMENT_BYTES[spec.datatype] or 0, spec.dims

    server = Server(
        answer,
        host=config.host,
        port=config.port,
        name=config.model.name,
        inputs=[tensor(spec) for spec in config.model.inputs],
        outputs=[tensor(spec) for spec in config.model.outputs],
        max_batch=config.model.max_batch,
        capacity=config.capacity,
        latency=parse_latency(config.latency),
        seed=config.seed,
        script=parse_script(config.script),
        journal=config.journal,
        max_request_bytes=config.max_request_bytes,
        max_connections=config.max_connections,
        spin=config.spin,
    )
    control = ControlHandler(config.model, config.capacity, server.counters)
    return server


class SignalsTo:
    """While entered, SIGINT and SIGTERM stop the server, whose loop runs without the GIL."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.previous: dict[int, Any] = {}
        self.previous_fd = -1

    def __enter__(self) -> None:
        self.previous_fd = signal.set_wakeup_fd(self.server.wake_fd(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            self.previous[number] = signal.signal(number, self.stop)

    def __exit__(self, *exc: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self.previous_fd)

    def stop(self, number: int, frame: FrameType | None) -> None:
        self.server.stop()


class EmbeddedServer:
    """A server in a child process, for the length of a `with` block.

    The child ends with the thread that started it, however that ends. ``url`` and ``pid`` hold
    while it runs.

    Raises:
        NotStartedError: it did not listen within ``start_timeout_s``; with its own last line.
    """

    def __init__(self, config: ServeConfig | None = None, *, start_timeout_s: float = 20.0) -> None:
        self.config = config or ServeConfig()
        self.start_timeout_s = start_timeout_s
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "EmbeddedServer":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the child. Raises NotStartedError before start."""
        if self.process is None:
            raise NotStartedError("the embedded server is not running; call start() first")
        return self.process.pid

    def start(self) -> None:
        """Starts the child and waits for its port."""
        deadline_s = time.monotonic() + self.start_timeout_s
        command = [sys.executable, "-m", "harness.embedded.server", *self.config.argv()]
        command.append(f"--parent={os.getpid()}")
        with tempfile.TemporaryFile() as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
            try:
                line = read_line(self.process, deadline_s)
                word, _, address = line.partition(" ")
                if word != "listening":
                    errors.seek(0)
                    said = last_line(errors)
                    raise NotStartedError(said or "the embedded server ended without a word")
            except BaseException:
                self.stop()
                raise
        self.url = address

    def stop(self, timeout_s: float = 3.0) -> int | None:
        """Ends the child, by SIGKILL after ``timeout_s``; its exit status. May be repeated."""
        process, self.process = self.process, None
        if process is None:
            return None
        with process:
            process.terminate()
            try:
                return process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait(timeout_s)


def read_line(process: subprocess.Popen[bytes], deadline_s: float) -> str:
    """The child's first line, or "" if it ends or the monotonic deadline passes before."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    text = b""
    while b"\n" not in text and len(text) < 4096:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
            return ""
        chunk = os.read(descriptor, 4096)
        if not chunk:
            return ""
        text += chunk
    return text.partition(b"\n")[0].decode(errors="replace")


def last_line(errors: BinaryIO) -> str:
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("harness serve: ") if lines else ""


class Parser(argparse.ArgumentParser):
    """argparse with the project's one-line errors."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parser() -> argparse.ArgumentParser:
    """The command line of `harness serve`."""
    p = Parser(prog="harness serve", description="An embedded KServe v2 gRPC inference server.")
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, default=0, help="0: a free one, printed")
    p.add_argument("--model", default="identity", metavar="NAME")
    p.add_argument("--input", action="append", default=[], metavar="NAME:TYPE:DIMS")
    p.add_argument("--output", action="append", default=[], metavar="NAME:TYPE:DIMS")
    p.add_argument("--max-batch", type=int, default=0, help="0: no batch dimension")
    p.add_argument("--latency", default="0", help="20ms, or lognormal:p50,p99")
    p.add_argument("--capacity", type=int, default=0, help="requests served at once; 0: no limit")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--script", default="", help='"2s: latency=80ms@20%%; 4s: hang; 6s: ok"')
    p.add_argument("--journal", metavar="FILE", help="id and arrival time of every request")
    p.add_argument("--cpu", type=int, help="pin to this CPU")
    p.add_argument("--spin", action="store_true", help="never sleep")
    p.add_argument("--max-request-bytes", type=int, default=64 * 1024 * 1024)
    p.add_argument("--max-connections", type=int, default=1024)
    p.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    return p


def parse_arguments(argv: Sequence[str]) -> tuple[ServeConfig, int | None]:
    """The configuration, and the pid of the parent to die with, if any.

    Raises:
        UsageError: an option or its value cannot be read.
    """
    values = vars(parser().parse_args(argv))
    parent = values.pop("parent")
    model = parse_model(
        values.pop("model"), values.pop("input"), values.pop("output"), values.pop("max_batch")
    )
    return ServeConfig(model=model, **values), parent


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `harness serve`; the exit code."""
    try:
        config, parent = parse_arguments(sys.argv[1:] if argv is None else argv)
        if parent is not None:
            die_with_parent(parent)
        host = f"[{config.host}]" if ":" in config.host else config.host
        serve(config, lambda port: print(f"listening {host}:{port}", flush=True))
    except HarnessError as error:
        print(f"harness serve: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
