import grpc
import pytest
from tritonclient.grpc import service_pb2

from harness.control.address import parse_address
from harness.control.client import ControlClient
from harness.control.server_stats import Snapshot, counts_of, delta, take
from tests.grpc_fixture import GrpcServer, aborting


def statistics(*entries):
    """Entries (version, successes): each success took 10 us in the queue and 100 us of compute."""
    response = service_pb2.ModelStatisticsResponse()
    for version, count in entries:
        entry = response.model_stats.add(
            name="m", version=version, inference_count=4 * count, execution_count=count // 2
        )
        stats = entry.inference_stats
        stats.success.count, stats.success.ns = count, count * 150_000
        stats.fail.count = 1
        stats.queue.count, stats.queue.ns = count, count * 10_000
        stats.compute_infer.count, stats.compute_infer.ns = count, count * 100_000
        stats.cache_miss.count = count
    return response


def test_delta():
    before = counts_of(statistics(("1", 100)), "m")
    outcome = delta(before, counts_of(statistics(("1", 300)), "m"))
    assert outcome.reason is None
    found = outcome.delta
    assert (found.executed, found.failed, found.inference_count) == (200, 0, 800)
    assert found.execution_count == 100
    assert found.mean_batch == 8
    assert found.request_mean_ns == 150_000
    assert found.queue_mean_ns == 10_000
    assert found.compute_infer_mean_ns == 100_000
    assert found.compute_output_mean_ns is None
    assert (found.cache_hit_count, found.cache_miss_count) == (0, 200)


def test_versions_are_summed_or_picked():
    response = statistics(("1", 10), ("2", 30))
    assert counts_of(response, "m").counts.success_count == 40
    assert counts_of(response, "m", "2").counts.success_count == 30
    assert counts_of(response, "m", "3").reason == "the server has no statistics of model 'm'"
    assert counts_of(response, "other").counts is None


def test_restarted_server():
    before, after = counts_of(statistics(("1", 100)), "m"), counts_of(statistics(("1", 5)), "m")
    assert delta(before, after).delta is None
    assert "went backwards" in delta(before, after).reason


def test_missing_snapshot_keeps_its_reason():
    there = counts_of(statistics(("1", 1)), "m")
    assert delta(Snapshot(None, "first"), there).reason == "first"
    assert delta(there, Snapshot(None, "second")).reason == "second"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, "the server has no statistics extension"),
        (grpc.StatusCode.INTERNAL, "answered ModelStatistics with INTERNAL"),
    ],
)
def test_take_never_raises(code, said):
    with GrpcServer() as server, ControlClient(parse_address(server.address)) as client:
        server.statistics = statistics(("1", 7))
        assert take(client, "m").counts.success_count == 7
        server.answers["ModelStatistics"] = aborting(code, "text")
        snapshot = take(client, "m")
        assert snapshot.counts is None
        assert said in snapshot.reason
