"""The engine against servers that hold requests up, and told things by the coordinator."""

import threading
import time

import numpy as np
import pytest

from harness._shm import Segment
from harness._tally import EVIDENCE_FIELDS, Tally
from harness.plan import Plan, PlanSpec
from harness.records import ABSENT_NS, Decision, Flag, Outcome, Reason
from tests.engine_fixture import (
    BACKPRESSURE,
    CANCELLED,
    CLIENT,
    MS,
    OK,
    STEADY,
    TIMEOUT,
    Load,
    S,
    count,
    endings,
    request_body,
)
from tests.http2_peer import (
    CANCEL,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    Peer,
    answer_after,
    hanging,
)


def test_a_window_of_nothing_sends_nothing():
    with (
        Peer(settings={INITIAL_WINDOW_SIZE: 0}, window=None) as peer,
        Load(peer.address, timeout_ns=100 * MS, lag_ns=100 * MS) as load,
    ):
        assert load.connect()
        for prefix in "ws":
            rows = load.run(prefix=prefix)
            assert endings(rows) - {CLIENT} == {TIMEOUT}
            assert (rows["t_sent_ns"] == ABSENT_NS).all()
        assert peer.requests == 0
        assert all(connection.data_sizes == [] for connection in peer.connections)
        assert set(peer.connections[0].resets) == {CANCEL}


def test_a_connection_window_that_is_used_up():
    """64 KiB - 1 until widened: 3 requests of 20 kB fit, and part of a fourth."""
    with Peer(settings={INITIAL_WINDOW_SIZE: 1 << 20}, window=None) as peer:
        peer.on_connect = lambda connection: connection.settings(peer.settings)
        with Load(
            peer.address, body=request_body(20_000), timeout_ns=200 * MS, lag_ns=S // 10
        ) as load:
            assert load.connect()
            rows = load.run(PlanSpec("constant", 1000.0, 1, 10 * MS))
            assert endings(rows) <= {OK, TIMEOUT, CLIENT}
            assert count(rows, OK) <= 3
            assert peer.requests == count(rows, OK)
            sent = rows["t_sent_ns"] != ABSENT_NS
            assert np.array_equal(sent, rows["outcome"] == Outcome.OK)
            assert sum(peer.connections[0].data_sizes) <= 65535


@pytest.mark.parametrize("limit", [1, 3])
def test_the_servers_stream_limit_is_kept(limit):
    settings = {MAX_CONCURRENT_STREAMS: limit}
    with Peer(answer_after(0.005), settings=settings) as peer, Load(peer.address) as load:
        assert load.connect()
        for prefix in "ws":
            rows = load.run(prefix=prefix)
            assert endings(rows) == {OK}
            waited = rows["flags"] & Flag.WAITED != 0
            assert waited.sum() >= 10
            assert load.segment.in_flight(0, 0)[1] == limit
        assert peer.connections[0].most_open == limit
        assert peer.connections[0].resets == []


def test_a_stream_limit_of_nothing_until_it_is_raised():
    def on_connect(connection):
        peer.greet(connection)
        connection.later(0.15, lambda: connection.settings({MAX_CONCURRENT_STREAMS: 5}))

    with (
        Peer(on_connect=on_connect, settings={MAX_CONCURRENT_STREAMS: 0}) as peer,
        Load(peer.address) as load,
    ):
        assert load.connect()
        rows = load.run()
        assert endings(rows) == {OK}
        assert (rows["flags"] & Flag.WAITED != 0).all()


def test_a_hung_server_fills_the_cap_and_the_rest_is_backpressure():
    with hanging() as peer, Load(peer.address, cap=7, lag_ns=40 * MS, timeout_ns=80 * MS) as load:
        assert load.connect()
        for prefix in "ws":
            rows = load.run(STEADY, prefix, drain_ns=S)
            assert endings(rows) - {CLIENT} == {TIMEOUT, BACKPRESSURE}
            assert (rows["server"][rows["reason"] != Reason.CLIENT] == 0).all()
            assert count(rows, TIMEOUT) == 7
            assert load.segment.in_flight(0, 0)[1] == 7
        assert peer.connections[0].most_open == 7
        assert len(peer.connections[0].resets) >= 7


def test_a_full_table_is_backpressure():
    with hanging() as peer, Load(peer.address, table=5) as load:
        assert load.connect()
        rows = load.run(drain_ns=20 * MS)
        assert endings(rows) == {CANCELLED, BACKPRESSURE}
        assert count(rows, CANCELLED) == 5


def test_when_the_drain_is_over_what_hangs_is_cancelled():
    with hanging() as peer, Load(peer.address) as load:
        assert load.connect()
        for prefix in "ws":
            started_s = time.monotonic()
            rows = load.run(prefix=prefix, drain_ns=50 * MS)
            assert time.monotonic() - started_s < 1.0
            assert endings(rows) == {CANCELLED}
            assert (rows["decision"] == Decision.UNDECIDED).all()
            assert (rows["t_sent_ns"] != ABSENT_NS).all()


@pytest.mark.parametrize("cancel", [False, True])
def test_at_the_deadline_a_stream_is_kept_or_cancelled(cancel, wait_until):
    spec = PlanSpec("constant", 100.0, 1, 300 * MS)
    options = {"timeout_ns": 50 * MS, "lag_ns": 50 * MS, "cancel_expired": cancel}
    with hanging() as peer, Load(peer.address, **options) as load:
        assert load.connect()
        for prefix in "ws":
            rows = load.run(spec, prefix)
            assert endings(rows) - {CLIENT} == {TIMEOUT}
            most = load.segment.in_flight(0, 0)[1]
            assert most < 20 if cancel else most == count(rows, TIMEOUT)
        wait_until(lambda: len(peer.connections[0].resets) == peer.requests)
        assert set(peer.connections[0].resets) == {CANCEL}


def test_an_answer_after_the_deadline_changes_nothing():
    spec = PlanSpec("constant", 100.0, 1, 400 * MS)
    options = {"timeout_ns": 50 * MS, "lag_ns": 50 * MS}
    with Peer(answer_after(0.12)) as peer, Load(peer.address, **options) as load:
        assert load.connect()
        for prefix in "ws":
            rows = load.run(spec, prefix)
            assert endings(rows) <= {TIMEOUT, CLIENT, OK}
            assert count(rows, TIMEOUT) >= 20
            assert load.segment.in_flight(0, 0)[1] < len(rows)


def test_slow_answers_are_judged_overdue_and_counted_late():
    with Peer(answer_after(0.06)) as peer, Load(peer.address, slo_ns=20 * MS) as load:
        assert load.connect()
        for prefix in "ws":
            rows = load.run(prefix=prefix)
            assert endings(rows) == {OK}
            assert (rows["decision"] == Decision.SLOW).all()
            both = Flag.OVERDUE | Flag.COMPLETED_AFTER_DECISION
            assert (rows["flags"] & both == both).all()
            assert load.tally.buckets[0, :, 1].sum() == len(rows)


def test_a_cut_takes_no_later_slot():
    spec = PlanSpec("constant", 1000.0, 1, 10 * S)
    with Peer() as peer, Load(peer.address) as load:
        assert load.connect()
        load.at(0.05, lambda: load.segment.cut(300 * MS))
        rows = load.run(spec)
        assert endings(rows) == {OK}
        assert rows["slot"].tolist() == list(range(301))


def test_cancelling_gives_up_at_once():
    spec = PlanSpec("constant", 1000.0, 1, 10 * S)
    with hanging() as peer, Load(peer.address) as load:
        assert load.connect()

        def cancel():
            load.segment.cut(100 * MS)
            load.segment.cancel()
            load.ours.send(b"\n")

        load.at(0.05, cancel)
        started_s = time.monotonic()
        rows = load.run(spec, ends="cancelled")
        assert time.monotonic() - started_s < 1.0
        assert endings(rows) <= {CANCELLED, BACKPRESSURE}
        assert rows["slot"].tolist() == list(range(101))


def test_slots_still_due_when_the_drain_is_over_are_in_the_books():
    """More than can be taken in time, and no drain at all."""
    spec = PlanSpec("constant", 2_000_000.0, 1, 5 * MS)
    with hanging() as peer, Load(peer.address) as load:
        assert load.connect()
        for prefix in "ws":
            rows = load.run(spec, prefix, drain_ns=0)
            assert len(rows) == 10_000
            assert endings(rows) == {CANCELLED, BACKPRESSURE}


def test_a_coordinator_that_is_gone_ends_the_run():
    spec = PlanSpec("constant", 1000.0, 1, 10 * S)
    with hanging() as peer, Load(peer.address) as load:
        assert load.connect()
        load.at(0.05, load.ours.close)
        started_s = time.monotonic()
        rows = load.run(spec, ends="hung up")
        assert time.monotonic() - started_s < 1.0
        assert endings(rows) <= {CANCELLED, BACKPRESSURE}


def test_the_verdict_moves_the_load_and_no_slot_is_skipped_or_doubled():
    with Peer() as first, Peer() as second, Load(first.address, second.address) as load:
        assert load.connect()
        load.at(0.07, lambda: load.segment.set_verdict(1, [1]))
        rows = load.run(STEADY)
        assert endings(rows) == {OK}
        assert len(rows) == 300
        assert (np.diff(rows["server"].astype(int)) >= 0).all()
        assert set(rows["server"]) == {0, 1}
        assert np.array_equal(rows["epoch"], rows["server"])
        assert (first.requests, second.requests) == tuple(np.bincount(rows["server"]))
        epoch, seen_ns = load.segment.seen(0)
        assert epoch == 1
        assert 50 * MS < seen_ns < S
        handed_after = rows["t_taken_ns"] > seen_ns
        assert (rows["server"][handed_after] == 1).all()


def test_waiting_slots_go_to_the_new_server():
    with (
        hanging() as first,
        Peer() as second,
        Load(first.address, second.address, cap=3) as load,
    ):
        assert load.connect()
        load.at(0.08, lambda: load.segment.set_verdict(1, [1]))
        rows = load.run(drain_ns=S)
        assert count(rows, CANCELLED) == 3
        assert (rows["server"][:3] == 0).all()
        moved = rows[3:]
        assert endings(moved) == {OK}
        assert (moved["server"] == 1).all()
        assert (moved["epoch"] == 1).all()
        assert (moved["flags"] & Flag.WAITED != 0).all()


def test_threads_are_let_run_meanwhile():
    turns = []
    stop = threading.Event()

    def count_turns():
        while not stop.wait(0.005):
            turns.append(1)

    thread = threading.Thread(target=count_turns)
    with Peer() as peer, Load(peer.address, spin=True) as load:
        assert load.connect()
        thread.start()
        load.run(STEADY)
        stop.set()
        thread.join()
    assert len(turns) >= 5


def test_a_worker_that_stands_still_between_two_slots_blames_nobody(monkeypatch):
    """It walks past a million slots of others there, which takes longer than T."""
    others, slo_ns, duration_ns = 2_000_000, 10 * MS, 200 * MS
    monkeypatch.setattr(
        "tests.engine_fixture.Segment", lambda workers, ring, table: Segment(1, ring, table)
    )
    with (
        Peer(answer_after(0.001)) as peer,
        Load(peer.address, slo_ns=slo_ns, lag_ns=slo_ns, workers=others) as load,
    ):
        assert load.connect()
        load.segment.reset()
        plan = Plan("constant", 40e6, 1, duration_ns)
        origin_ns = time.monotonic_ns() + 5 * MS
        assert load.engine.run(plan, "s", origin_ns, S) == "done"
        tally = Tally(1, others * 10, duration_ns)
        tally.drain(load.segment, 0)
    found = dict(zip(EVIDENCE_FIELDS, tally.evidence.sum(axis=(0, 1)).tolist(), strict=True))
    assert found["late_answered"] + found["late_failed"] > 0
    assert found["violations"] == 0


@pytest.mark.parametrize("policy", ["round-robin", "least-outstanding"])
def test_a_server_that_takes_no_more_streams_does_not_hold_up_the_others(policy):
    settings = {MAX_CONCURRENT_STREAMS: 2}
    with (
        Peer(lambda connection, request: None, settings=settings) as stuck,
        Peer(answer_after(0.002)) as peer,
        Load(stuck.address, peer.address, policy=policy, timeout_ns=S, lag_ns=S) as load,
    ):
        assert load.connect()
        load.at(-0.015, lambda: load.segment.set_verdict(1, (0, 1)))
        rows = load.run(STEADY, drain_ns=S // 10)
        assert (rows["server"] == 0).sum() == 2
        assert (rows["outcome"][rows["server"] == 1] == Outcome.OK).all()
