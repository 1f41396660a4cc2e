"""Requests that keep servers warm while no load goes to them."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harness._response import request_id
from harness.config import NS_PER_S, BenchConfig
from harness.control.address import parse_address
from harness.control.client import ControlClient
from harness.control.inputs import PROBE_PREFIX
from harness.control.preflight import Preflight
from harness.errors import HarnessError

LEAST_DEADLINE_S = 1.0
AFTER_FAILURE_S = 1.0
"""A server that refuses is asked again no sooner, whatever the rate."""
GRACE_S = 0.2
"""What is in flight at the end may take this long before it is given up."""


@dataclass(frozen=True)
class KeptWarm:
    """What was sent to one server beside the load, in no result.

    ``sent`` counts requests handed to gRPC, ``ok`` those answered with status OK in time.
    """

    sent: int
    ok: int


@contextmanager
def kept_warm(
    config: BenchConfig, checked: Preflight, in_use: Callable[[], Sequence[int]]
) -> Iterator[list[KeptWarm]]:
    """Keep warm what is not in use; the list is filled, by server, when the block is left.

    It stays empty where there is one server, or ``switching.keep_warm`` is 0.
    """
    counts: list[KeptWarm] = []
    if len(checked.servers) == 1 or config.switching.keep_warm == 0:
        yield counts
        return
    keeper = KeepWarm(config, checked, in_use)
    keeper.start()
    try:
        yield counts
    finally:
        counts.extend(keeper.stop())


class KeepWarm:
    """Sends ``switching.keep_warm`` requests/s to each server that is not in use.

    Servers that were missing in the preflight are left out. One request is in flight per server at
    most; what a slow server missed is not made up for. ``in_use`` is asked before each request, in
    other threads, for the indices of the servers that get load.
    """

    def __init__(
        self, config: BenchConfig, checked: Preflight, in_use: Callable[[], Sequence[int]]
    ) -> None:
        self._stop = threading.Event()
        self._standbys = [
            _Standby(config, checked, index, in_use, self._stop)
            for index in range(len(checked.servers))
        ]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin; returns at once."""
        for one in self._standbys:
            if one.period_s > 0:
                thread = threading.Thread(target=one.run, name="keep-warm", daemon=True)
                thread.start()
                self._threads.append(thread)

    def stop(self) -> list[KeptWarm]:
        """End within 0.5 s, whatever the servers do; the counts by server.

        A request still in flight then is given up; it counts as sent.
        """
        self._stop.set()
        t_end_s = time.monotonic() + GRACE_S
        for thread in self._threads:
            thread.join(max(0.0, t_end_s - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            # Closing waits for gRPC's own threads, and nobody waits for that.
            for one in self._standbys:
                threading.Thread(target=one.let_go, name="keep-warm", daemon=True).start()
        return [KeptWarm(one.sent, one.ok) for one in self._standbys]


class _Standby:
    """One server and its thread's doings. ``period_s`` 0: nothing is to be sent."""

    def __init__(
        self,
        config: BenchConfig,
        checked: Preflight,
        index: int,
        in_use: Callable[[], Sequence[int]],
        stop: threading.Event,
    ) -> None:
        facts = checked.servers[index]
        per_second = 0.0 if facts.missing is not None else config.switching.keep_warm
        self.period_s = 1 / per_second if per_second else 0.0
        self.sent = 0
        self.ok = 0
        self._index = index
        self._in_use = in_use
        self._stop = stop
        self._payload = checked.payload
        self._first_id = facts.probes  # the preflight has used those before
        self._address = parse_address(config.urls[index])
        self._config = config
        slo_s = config.slo.threshold_ns / NS_PER_S if config.slo else 0.0
        self._deadline_s = max(slo_s, LEAST_DEADLINE_S)
        self._client: ControlClient | None = None

    def run(self) -> None:
        """Send until told to stop. Standbys are out of step, so that not all ask at once."""
        servers = len(self._config.urls)
        t_next_s = time.monotonic() + self.period_s * (self._index + 1) / servers
        while not self._wait_until(t_next_s):
            if self._index in self._in_use() or self._send():
                t_next_s = max(t_next_s + self.period_s, time.monotonic())
            else:
                t_next_s = time.monotonic() + max(self.period_s, AFTER_FAILURE_S)
        self.let_go()

    def let_go(self) -> None:
        """Close the connection, from whatever thread; a request in flight ends."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _wait_until(self, t_s: float) -> bool:
        """Whether it was told to stop before that time."""
        # threading refuses to wait longer than some 290 years.
        return self._stop.wait(min(max(0.0, t_s - time.monotonic()), threading.TIMEOUT_MAX))

    def _send(self) -> bool:
        """Whether the server answered. After a failure the next request connects anew."""
        message = self._payload.with_id(request_id(PROBE_PREFIX, self._first_id + self.sent))
        try:
            client = self._client
            if client is None:
                # gRPC itself would come back to a restarted server after up to two minutes.
                client = ControlClient(self._address, self._config.headers, LEAST_DEADLINE_S)
                client.connect()
                self._client = client
            if self._stop.is_set():
                return False
            self.sent += 1
            client.infer_bytes(message, self._config.model, self._deadline_s)
        except HarnessError:
            self.let_go()
            return False
        self.ok += 1
        return True
