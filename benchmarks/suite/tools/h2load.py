"""h2load with a prepared gRPC body: what HTTP/2 alone costs. It does not look at answers."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tritonclient.grpc import service_pb2

from benchmarks.peers import Peer
from benchmarks.suite.cpus import Cpus
from benchmarks.suite.limits import Limits, run_limited
from benchmarks.suite.load import Load, Outcome

PATH = "/inference.GRPCInferenceService/ModelInfer"
FINISHED = re.compile(r"finished in \S+, ([\d.]+) req/s")
REQUESTS = re.compile(r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed")
BYTES = 64
FIRST_REQUESTS = 10_000


@dataclass(frozen=True)
class H2load:
    """A closed loop against the identity model of 16 FP32; no percentiles."""

    peer: Peer
    name: str = "h2load"
    first_rates: dict[str, float] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """As the program says."""
        return self.peer.version

    def run(
        self,
        load: Load,
        limits: Limits,
        cpus: Cpus,
        folder: Path,
        on_start: Callable[[int], None] = lambda pid: None,
    ) -> Outcome:
        """Rate and requests as it prints them.

        The load is a number of requests, by the rate of a server's first run: h2load's own duration
        ends with requests in flight, and Triton 2.51 was seen to answer nobody then.
        """
        (folder / "body").write_bytes(grpc_body(load.model))
        if load.url not in self.first_rates:
            first = self._send(FIRST_REQUESTS, load, limits, cpus, folder, lambda pid: None)
            if first.trouble:
                return first
            self.first_rates[load.url] = first.figures["rate"]
        count = max(FIRST_REQUESTS, round(self.first_rates[load.url] * load.seconds))
        return self._send(count, load, limits, cpus, folder, on_start)

    def _send(
        self,
        count: int,
        load: Load,
        limits: Limits,
        cpus: Cpus,
        folder: Path,
        on_start: Callable[[int], None],
    ) -> Outcome:
        ended = run_limited(
            [
                *(*self.peer.argv, "-t1", "-c1", f"-m{load.concurrency}", "-n", str(count)),
                *("-d", str(folder / "body"), "-H", "content-type: application/grpc"),
                *("-H", "te: trailers", f"http://{load.url}{PATH}"),
            ],
            limits=limits,
            cpus=(cpus.client,),
            folder=folder,
            env=self.peer.environment(),
            on_start=on_start,
        )
        finished, requests = FINISHED.search(ended.stdout), REQUESTS.search(ended.stdout)
        if ended.trouble or not finished or not requests:
            return Outcome(ended, trouble=ended.trouble or "h2load printed no figures")
        done, succeeded, failed = map(int, requests.groups())
        if failed or succeeded != count:
            return Outcome(ended, trouble=f"{count - succeeded} of {count} requests failed")
        return Outcome(ended, done, {"rate": float(finished[1])}, counts_itself=True)


def grpc_body(model: str) -> bytes:
    """One ModelInferRequest with gRPC's 5-byte prefix."""
    request = service_pb2.ModelInferRequest(model_name=model, id="0000000000000001")
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[BYTES // 4])
    request.raw_input_contents.append(bytes(BYTES))
    message: bytes = request.SerializeToString()
    return struct.pack(">BI", 0, len(message)) + message
