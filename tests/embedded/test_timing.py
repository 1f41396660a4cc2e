"""What the embedded server counts, and how long it takes: statistics, capacity, latency."""

import struct
import time

import numpy as np
import pytest

from harness.embedded.server import (
    EmbeddedServer,
    ServeConfig,
)
from tests.embedded.asking import VALUES, client, status_of, tensor
from tests.h2wire import (
    END_STREAM,
    HEADERS,
    RST_STREAM,
    Wire,
    frame,
)


def test_statistics_count_what_was_asked():
    with EmbeddedServer(ServeConfig(latency="5ms")) as running:
        c = client(running)
        for _ in range(10):
            c.infer("identity", [tensor(VALUES)])
        status_of(lambda: c.infer("other", [tensor(VALUES)]))
        stats = c.get_inference_statistics("identity").model_stats[0]
    assert (stats.inference_count, stats.execution_count) == (10, 10)
    assert stats.inference_stats.success.count == 10
    assert stats.inference_stats.fail.count == 1
    assert stats.inference_stats.compute_infer.ns == 10 * 5_000_000
    assert stats.inference_stats.queue.ns == 0
    assert abs(stats.last_inference / 1000 - time.time()) < 60


def test_capacity_makes_a_queue():
    # 20 requests in one write, 2 slots of 20 ms: the k-th ends after (k // 2 + 1) * 20 ms.
    with (
        EmbeddedServer(ServeConfig(latency="20ms", capacity=2)) as running,
        Wire(running.url) as wire,
    ):
        start = time.monotonic()
        wire.send(b"".join(wire.request(2 * k + 1) for k in range(20)))
        ends = []
        for k in range(20):
            wire.until_end_of(2 * k + 1)
            ends.append(time.monotonic() - start)
        stats = client(running).get_inference_statistics("identity").model_stats[0].inference_stats
    for k, end in enumerate(ends):
        assert end >= (k // 2 + 1) * 0.020
    assert ends[-1] < 0.2 + 1.0
    assert stats.queue.ns == pytest.approx(2 * 0.020e9 * sum(range(10)), rel=0.05)
    assert stats.compute_infer.ns == 20 * 20_000_000


def test_a_cancelled_request_is_served_all_the_same():
    with (
        EmbeddedServer(ServeConfig(latency="50ms", capacity=1)) as running,
        Wire(running.url) as wire,
    ):
        wire.send(wire.request(1) + wire.request(3) + wire.request(5))
        wire.send(frame(RST_STREAM, 0, 1, struct.pack(">I", 8)))
        wire.send(frame(RST_STREAM, 0, 3, struct.pack(">I", 8)))
        wire.until_end_of(5)
        stats = client(running).get_inference_statistics("identity").model_stats[0]
    assert stats.execution_count == 3
    assert stats.inference_stats.queue.ns >= 140_000_000


def test_lognormal_latency_has_the_mean_its_percentiles_imply():
    config = ServeConfig(latency="lognormal:2ms,20ms", seed=3)
    with EmbeddedServer(config) as running, Wire(running.url) as wire:
        count = 4000
        wire.send(b"".join(wire.request(2 * i + 1) for i in range(count)))
        end_all(wire, count)
        stats = client(running).get_inference_statistics("identity").model_stats[0].inference_stats
    # The mean of a lognormal is p50 exp(sigma^2 / 2): 3.26 ms here.
    sigma = np.log(10) / 2.3263
    mean_ns = stats.compute_infer.ns / count
    assert mean_ns == pytest.approx(2e6 * np.exp(sigma**2 / 2), rel=0.1)


def end_all(wire, count):
    """Reads until ``count`` streams have ended."""
    while count:
        got = wire.next_frame()
        assert got is not None
        count -= bool(got.kind == HEADERS and got.flags & END_STREAM)


def test_the_seed_fixes_the_service_times():
    def total_ns(seed):
        config = ServeConfig(latency="lognormal:1ms,4ms", seed=seed)
        with EmbeddedServer(config) as running, Wire(running.url) as wire:
            wire.send(b"".join(wire.request(2 * i + 1) for i in range(50)))
            end_all(wire, 50)
            stats = client(running).get_inference_statistics("identity").model_stats[0]
            return stats.inference_stats.compute_infer.ns

    assert total_ns(5) == total_ns(5) != total_ns(6)
