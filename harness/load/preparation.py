"""What is settled before the workers start: plan, CPUs, request, caps, and what each is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import harness
from harness._shm import Segment
from harness.config import NS_PER_S, BenchConfig
from harness.control.address import pack_socket_address
from harness.control.headers import check_headers
from harness.control.preflight import Preflight
from harness.errors import NotStartedError
from harness.host import memory_available_bytes
from harness.load import limits
from harness.load.cpus import CpuPlan
from harness.plan import PlanFacts, PlanSpec

CONNECT_NS = 3 * NS_PER_S
SLEEPING_SHARE = 0.2
"""Of its CPU, what a sleeping worker may spend on waking before each slot; more: it does not."""
MAX_WAITING = 32_768
"""Slots of one worker that may wait at the cap; beyond that they are dropped at once."""


WORKERS_POLICY = {"alternate": "failover"}
"""To a worker both are one server at a time."""


@dataclass(frozen=True)
class Preparation:
    """One run, ready to start. ``config`` names its servers."""

    config: BenchConfig
    spec: PlanSpec
    plan: PlanFacts
    cpus: CpuPlan
    checked: Preflight

    @property
    def slo_ns(self) -> int | None:
        """T, None without an SLO."""
        return self.config.slo.threshold_ns if self.config.slo else None

    @property
    def servers(self) -> int:
        """How many there are."""
        return len(self.config.urls)

    @property
    def missing(self) -> list[int]:
        """Servers that were not there at the start."""
        return [index for index, one in enumerate(self.checked.servers) if one.missing]

    @property
    def inflight_cap(self) -> int:
        """Requests in flight per server for the whole run. Raises NotStartedError."""
        payload = self.checked.payload
        cap = limits.in_flight_cap(
            self.config.rate,
            self.slo_ns,
            payload.request_bytes,
            payload.response_bytes_estimate,
            self.config.concurrency or self.config.max_inflight,
        ).total
        if cap < self.cpus.workers:
            raise NotStartedError(
                f"an in-flight cap of {cap} cannot be shared by {self.cpus.workers} workers;"
                " give fewer --workers or a higher --max-inflight"
            )
        return cap

    @property
    def rate(self) -> float:
        """Requests/s that memory is sized for."""
        return self.config.rate or limits.CLOSED_RATE_PER_WORKER * self.cpus.workers

    def check_memory(self) -> None:
        """Raises NotStartedError if the run needs more than there is."""
        payload = self.checked.payload
        needed = limits.memory_needed_bytes(
            rate=self.rate,
            workers=self.cpus.workers,
            servers=self.servers,
            cap=self.inflight_cap,
            request_bytes=payload.request_bytes,
            response_bytes=payload.response_bytes_estimate,
            duration_ns=self.config.duration_ns,
        )
        limits.check_memory(needed, memory_available_bytes())

    def segment(self) -> Segment:
        """Shared memory of the size this run needs."""
        workers, cap = self.cpus.workers, self.inflight_cap
        waiting = int(self.rate / workers * self.config.lag_ns / NS_PER_S * 1.5) + 64
        return Segment(
            workers,
            limits.ring_records(self.rate, workers, cap, self.servers),
            self.servers * limits.worker_share(cap, 0, workers) + min(waiting, MAX_WAITING),
        )

    def setup(self, segment: Segment, worker: int) -> dict[str, Any]:
        """What a worker is told first; see ``worker.serve``."""
        config, payload = self.config, self.checked.payload
        headers = check_headers(config.headers)
        return {
            "worker": worker,
            "workers": self.cpus.workers,
            "cpu": self.cpus.worker_cpus[worker],
            "spin": self.cpus.spin,
            "sleeps": config.spin != "always",
            "shares_cpu": self.cpus.worker_cpus.count(self.cpus.worker_cpus[worker]) > 1,
            "guard_budget_ns": int(SLEEPING_SHARE * NS_PER_S * self.cpus.workers / self.rate),
            "transport": config.transport,
            "policy": WORKERS_POLICY.get(config.switching.policy, config.switching.policy),
            "weights": list(config.switching.weights) or [1] * self.servers,
            "ring_capacity": segment.ring_capacity,
            "table_capacity": segment.table_capacity,
            "slo_ns": self.slo_ns,
            "timeout_ns": config.timeout_ns,
            "lag_ns": config.lag_ns,
            "cap": limits.worker_share(self.inflight_cap, worker, self.cpus.workers),
            "cancel_expired": config.on_timeout == "cancel",
            "connections": config.connections,
            "connect_ns": CONNECT_NS,
            "id_offset": payload.id_offset,
            "outputs": payload.n_outputs,
            "response_limit_bytes": config.max_response_bytes,
            "response_bytes": payload.response_bytes_estimate,
            "headers": headers,
            "required": [server.missing is None for server in self.checked.servers],
            "servers": [
                {
                    "url": server.url,
                    "sockaddr": pack_socket_address(server.sockaddrs[0]).hex(),
                    "fields": request_fields(server.url, headers),
                }
                for server in self.checked.servers
            ],
        }


def request_fields(url: str, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The header fields of every request to one server."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/inference.GRPCInferenceService/ModelInfer"),
        (":authority", url),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", f"triton-harness/{harness.__version__}"),
        ("grpc-accept-encoding", "identity"),
        *headers,
    ]
