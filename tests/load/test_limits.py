import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import NotStartedError
from harness.load import limits

S = 1_000_000_000


@pytest.mark.parametrize(
    ("rate", "threshold_ns", "bytes_each", "max_inflight", "total"),
    [
        (2000, 50_000_000, 200, None, 1100),
        (100, 50_000_000, 200, None, 64),
        (100_000, 50_000_000, 200, None, 16_384),
        (1000, None, 200, None, 1500),
        (2000, 50_000_000, 600_000, None, 223),
        (2000, 50_000_000, 2**30, None, 1),
        (2000, 50_000_000, 600_000, 7, 7),
        (2000, 50_000_000, 0, None, 1100),
    ],
)
def test_in_flight_cap(rate, threshold_ns, bytes_each, max_inflight, total):
    cap = limits.in_flight_cap(rate, threshold_ns, bytes_each, bytes_each, max_inflight)
    assert cap.total == total


def test_reasons():
    assert limits.in_flight_cap(1000, None, 1, 1).reason == "1000/s x (1 s, no SLO + 0.5 s)"
    assert limits.in_flight_cap(2000, 50_000_000, 1, 1).reason == "2000/s x (50ms + 0.5 s)"
    assert limits.in_flight_cap(10, 50_000_000, 1, 1).reason == (
        "the least, 10/s x (50ms + 0.5 s) is 6"
    )
    assert limits.in_flight_cap(2000, 50_000_000, 2**20, 0).reason == (
        "256 MiB of requests and responses of 1 MiB"
    )


@given(st.integers(1, 20_000), st.integers(1, 64), st.integers(0, 10**9))
def test_shares_add_up(cap, workers, slots):
    shares = [limits.worker_share(cap, worker, workers) for worker in range(workers)]
    assert sum(shares) == cap
    assert max(shares) - min(shares) <= 1
    assert sum(limits.slot_share(slots, worker, workers) for worker in range(workers)) == slots


@given(st.integers(0, 200), st.integers(1, 9))
def test_slot_share_counts_the_slots_taken_round_robin(slots, workers):
    for worker in range(workers):
        own = len(range(worker, slots, workers))
        assert limits.slot_share(slots, worker, workers) == own


@given(st.floats(0.1, 1e6), st.integers(1, 64), st.integers(1, 16_384), st.integers(1, 8))
def test_ring(rate, workers, cap, servers):
    size = limits.ring_records(rate, workers, cap, servers)
    assert size & (size - 1) == 0
    assert limits.MIN_RING_RECORDS <= size <= limits.MAX_RING_RECORDS
    wanted = 6 * rate / workers + 2 * servers * cap / workers
    assert size >= min(wanted, limits.MAX_RING_RECORDS)


def test_memory_grows_with_what_is_held():
    base = {
        "rate": 1000.0, "workers": 1, "servers": 1, "cap": 64, "request_bytes": 1000,
        "response_bytes": 1000, "duration_ns": 30 * S,
    }  # fmt: skip
    least = limits.memory_needed_bytes(**base)
    for name, more in [
        ("rate", 1e5), ("workers", 4), ("servers", 2), ("cap", 16_384), ("request_bytes", 10**6),
        ("response_bytes", 10**6), ("duration_ns", 86_400 * S),
    ]:  # fmt: skip
        assert limits.memory_needed_bytes(**base | {name: more}) > least
    assert 200 * 2**20 < least < 300 * 2**20


def test_disk():
    assert limits.disk_needed_bytes(10**6, 10 * S, 2) >= 64 * 10**6
    assert limits.disk_needed_bytes(10**6, 10 * S, 2, "none") < 20 * 10**6
    over = limits.MAX_RECORDED_SLOTS + 1
    assert limits.disk_needed_bytes(over, 10 * S, 1) < 64 * over
    assert limits.disk_needed_bytes(over, 10 * S, 1, "all") >= 64 * over


def test_checks_name_both_figures():
    limits.check_memory(100, 100)
    limits.check_memory(100, None)
    limits.check_disk(100, 100, "runs", records=True)
    with pytest.raises(NotStartedError, match=r"up to 2 GiB of memory, 1 GiB are available"):
        limits.check_memory(2**31, 2**30)
    with pytest.raises(NotStartedError, match=r"up to 2 GiB, 1 GiB are free in runs.*--records"):
        limits.check_disk(2**31, 2**30, "runs", records=True)
    with pytest.raises(NotStartedError, match=r"a shorter duration$"):
        limits.check_disk(2**31, 2**30, "runs", records=False)
