import fcntl
import json
import os
import subprocess
import sys
import time

import pytest

from harness._ledger import Ledger
from harness._shm import ENTRY_BYTES, MAX_SERVER_COUNT, NO_CUT_NS, RECORD_BYTES, Segment
from harness.config import MAX_SERVERS
from tests.core_fixture import SegmentView

OTHER_PROCESS = """
import json, sys
from harness._ledger import Ledger
from harness._shm import Segment
segment = Segment(2, 8, 4, int(sys.argv[1]))
for _ in sys.stdin:
    print(json.dumps([segment.verdict(), segment.cut_ns(), segment.cancelled()]), flush=True)
    segment.see(1, segment.verdict()[0], 77)
    ledger = Ledger(
        segment, 1, servers=2, slo_ns=50, timeout_ns=500, lag_ns=20, cap=4
    )
    ledger.hand(ledger.take(5, 10, 11), 1, 3)
    ledger.publish(1234, 20)
"""


@pytest.fixture
def segment():
    return Segment(2, 8, 4)


def test_sizes(segment):
    assert (segment.workers, segment.ring_capacity, segment.table_capacity) == (2, 8, 4)
    assert (RECORD_BYTES, ENTRY_BYTES) == (64, 128)
    assert os.fstat(segment.fd).st_size == segment.size_bytes
    one_more = Segment(2, 16, 5).size_bytes - segment.size_bytes
    assert one_more == 2 * (8 * RECORD_BYTES + ENTRY_BYTES)
    assert segment.size_bytes % 64 == 0


@pytest.mark.parametrize("capacity", [0, 1, 3, 6, 12, 1000])
def test_a_ring_is_a_power_of_two(capacity):
    with pytest.raises(ValueError, match=f"power of two, got {capacity}"):
        Segment(1, capacity, 1)


@pytest.mark.parametrize(("workers", "table"), [(0, 1), (-1, 1), (1, 0)])
def test_no_workers_or_no_table(workers, table):
    with pytest.raises(ValueError, match="at least one worker and one table entry"):
        Segment(workers, 2, table)


def test_its_size_is_sealed(segment):
    for size in (segment.size_bytes + 1, segment.size_bytes - 1, 0):
        with pytest.raises(PermissionError):
            os.ftruncate(segment.fd, size)
    with pytest.raises(PermissionError):
        os.pwrite(segment.fd, b"x", segment.size_bytes)
    with pytest.raises(PermissionError):
        fcntl.fcntl(segment.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_it_is_anonymous_and_not_inherited(segment):
    assert os.readlink(f"/proc/self/fd/{segment.fd}") == "/memfd:harness (deleted)"
    assert not os.get_inheritable(segment.fd)


def test_it_is_populated():
    segment = Segment(1, 1 << 14, 1 << 10)
    assert os.fstat(segment.fd).st_blocks * 512 >= segment.size_bytes


def test_another_size_is_not_mapped(segment):
    with pytest.raises(ValueError, match=f"has {segment.size_bytes} bytes, not"):
        Segment(2, 8, 5, segment.fd)


def test_what_was_said_before_anything():
    segment = Segment(2, 8, 4)
    assert segment.verdict() == (0, (0,))
    assert segment.cut_ns() == NO_CUT_NS == 2**63 - 1
    assert not segment.cancelled()
    for worker in range(2):
        assert segment.watermark_ns(worker) == -1
        assert segment.heartbeat_ns(worker) == segment.cursor(worker) == 0
        assert segment.pushed(worker) == segment.popped(worker) == segment.overflowed(worker) == 0
        assert segment.seen(worker) == segment.loop(worker) == (0, 0)
        assert segment.in_flight(worker, MAX_SERVER_COUNT - 1) == (0, 0)


def test_the_verdict_is_one_word(segment):
    mapped = Segment(2, 8, 4, segment.fd)
    for verdict in ((0, (1,)), (1, (0, 31)), (2**32 - 1, tuple(range(32)))):
        before_ns = time.monotonic_ns()
        decided_ns = segment.set_verdict(*verdict)
        assert before_ns <= decided_ns <= time.monotonic_ns()
        assert mapped.verdict() == verdict


def test_a_verdict_names_servers_that_can_be(segment):
    for in_use, error in (((), ValueError), ((32,), IndexError), ((-1,), IndexError)):
        with pytest.raises(error):
            segment.set_verdict(1, in_use)
    assert segment.verdict() == (0, (0,))


def test_connections_are_told_by_worker_and_server(segment):
    mapped = Segment(2, 8, 4, segment.fd)
    mapped.connect(1, 31, 64)
    assert segment.connected(1, 31) == 64
    assert segment.connected(0, 31) == segment.connected(1, 30) == 0
    for call in (lambda: segment.connect(0, 32, 1), lambda: segment.connected(0, -1)):
        with pytest.raises(IndexError):
            call()


def test_servers_out_of_range(segment):
    for server in (-1, MAX_SERVER_COUNT):
        with pytest.raises(IndexError):
            segment.in_flight(0, server)


def test_resetting_forgets_everything(segment):
    fresh = os.pread(segment.fd, segment.size_bytes, 0)
    segment.set_verdict(3, [1])
    segment.cut(5)
    segment.cancel()
    segment.see(1, 3, 4)
    segment.turned(0, 9)
    ledger = Ledger(segment, 1, servers=2, slo_ns=50, timeout_ns=500, lag_ns=20, cap=4)
    ledger.hand(ledger.take(0, 10, 11), 1, 3)
    ledger.tick(100)
    ledger.publish(100, 110)
    assert os.pread(segment.fd, segment.size_bytes, 0) != fresh
    segment.reset()
    assert os.pread(segment.fd, segment.size_bytes, 0) == fresh


def test_loop_gaps_keep_the_longest(segment):
    for gap_ns in (5, 9, 2):
        segment.turned(1, gap_ns)
    assert segment.loop(1) == (3, 9)
    assert segment.loop(0) == (0, 0)


def test_a_closed_descriptor_leaves_the_mapping(segment):
    segment.close()
    segment.close()
    assert segment.fd == -1
    segment.cut(5)
    assert segment.cut_ns() == 5


def test_two_processes_see_the_same_words(segment):
    before = os.pread(segment.fd, segment.size_bytes, 0)
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(segment.fd)],
        pass_fds=[segment.fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        segment.set_verdict(7, [0, 2])
        segment.cut(123_456_789_012)
        process.stdin.write("now\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == [[7, [0, 2]], 123_456_789_012, False]
        segment.cancel()
        process.stdin.write("now\n")
        process.stdin.close()
        assert json.loads(process.stdout.readline()) == [[7, [0, 2]], 123_456_789_012, True]
    assert process.returncode == 0
    assert segment.seen(1) == (7, 77)
    assert segment.heartbeat_ns(1) == 1234
    assert segment.watermark_ns(1) == 10
    assert segment.cursor(1) == 6
    assert segment.in_flight(1, 1) == (1, 1)
    assert segment.in_flight(1, 0) == (0, 0)
    view = SegmentView(segment)
    mine = slice(128, 128 + view.worker_bytes)
    assert os.pread(segment.fd, segment.size_bytes, 0)[mine] == before[mine]


def test_the_most_servers_of_a_run_have_places():
    assert MAX_SERVERS == MAX_SERVER_COUNT
