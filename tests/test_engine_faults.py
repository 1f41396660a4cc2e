"""The engine against connections and streams that break, hang or close."""

import threading
import time

import numpy as np
import pytest

from harness.plan import PlanSpec
from harness.records import ABSENT_NS, Decision, Flag, Outcome, Reason
from tests.engine_fixture import BURST, MS, S, Load, endings, request_body
from tests.grpc_fixture import closed_port
from tests.http2_peer import (
    CANCEL,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    Peer,
    answer_to,
    framed,
    hanging,
)

OK = (Outcome.OK, Reason.NONE, 0)
LOST = (Outcome.ERROR, Reason.CONNECTION_LOST, 14)
NO_CONNECTION = (Outcome.ERROR, Reason.NO_CONNECTION, 14)
REFUSED = (Outcome.ERROR, Reason.STREAM_RESET, 14)
TIMEOUT = (Outcome.TIMEOUT, Reason.NONE, 0)
CANCELLED = (Outcome.CANCELLED, Reason.NONE, 0)
BACKPRESSURE = (Outcome.DROPPED, Reason.BACKPRESSURE, 0)

STEADY = PlanSpec("constant", 2000.0, 1, 150 * MS)
"""300 slots."""


def count(rows, ending):
    outcome, reason, status = ending
    return np.count_nonzero(
        (rows["outcome"] == outcome) & (rows["reason"] == reason) & (rows["status"] == status)
    )


def at_every(number, fault):
    """Answer, but do ``fault(connection, request)`` instead to each number-th of a connection."""

    def on_request(connection, request):
        if connection.requests % number:
            connection.answer(request)
        else:
            fault(connection, request)

    return on_request


def answer_after(delay_s):
    return lambda connection, request: connection.later(
        delay_s, lambda: connection.answer(request)
    )


# Connections that end.


def close_in_the_middle(connection, request):
    connection.begin(request.stream_id)
    connection.data(request.stream_id, framed(answer_to(request.id))[:20])
    connection.close()


def talk_http_1(connection, request):
    connection.sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def talk_nonsense(connection, request):
    connection.sock.sendall(b"\xff" * 1000)


def answer_an_unknown_stream(connection, request):
    connection.begin(request.stream_id + 1000)


def overrun_the_window(connection, request):
    connection.widen(0, (1 << 31) - 1)


@pytest.mark.parametrize(
    "fault",
    [
        close_in_the_middle,
        talk_http_1,
        talk_nonsense,
        answer_an_unknown_stream,
        overrun_the_window,
    ],
)
def test_a_broken_connection_loses_what_is_on_it_and_is_replaced(fault):
    """Some of these leave the socket open: it is the engine that has to hang up."""
    with Peer(at_every(50, fault)) as peer, Load(peer.address, timeout_ns=5 * S) as load:
        assert load.connect()
        for prefix in "ws":
            before = len(peer.connections)
            rows = load.run(STEADY, prefix)
            assert endings(rows) <= {OK, LOST, NO_CONNECTION, REFUSED}
            assert count(rows, LOST) + count(rows, REFUSED) >= 1
            assert count(rows, OK) >= 100
            assert len(peer.connections) > before
            broken = rows[rows["outcome"] == Outcome.ERROR]
            assert (broken["t_done_ns"] - broken["t_taken_ns"] < S).all()
        (report,) = load.engine.connection_report()
        assert report["connects"] == len(peer.connections)
        assert report["connects"] - report["losses"] in (0, 1)


def test_an_idle_connection_closed_between_phases_is_replaced_before_the_next():
    with Peer() as peer, Load(peer.address) as load:
        assert load.connect()
        assert endings(load.run(prefix="w")) == {OK}
        peer.connections[0].close()
        assert endings(load.run()) == {OK}
        assert len(peer.connections) == 2


def go_away_then_close(connection, request):
    """As a server that shuts down: what it has begun is finished, then it hangs up."""
    connection.goaway()
    connection.answer(request)
    connection.later(0.02, connection.close)


def go_away_while_idle_and_close(connection, request):
    connection.answer(request)
    connection.goaway()
    connection.close()


def answer_then_go_away(connection, request):
    connection.answer(request)
    connection.goaway()


@pytest.mark.parametrize(
    ("fault", "allowed"),
    [
        (go_away_then_close, {OK}),
        (answer_then_go_away, {OK}),
        # What was on its way when the server hung up is lost, but nothing that came after.
        (go_away_while_idle_and_close, {OK, LOST}),
    ],
)
@pytest.mark.parametrize("rate", [200.0, 4000.0])
def test_a_graceful_goaway_loses_no_request(fault, allowed, rate):
    spec = PlanSpec("constant", rate, 1, 200 * MS)
    with Peer(at_every(20, fault)) as peer, Load(peer.address) as load:
        assert load.connect()
        for prefix in "ws":
            before = len(peer.connections)
            rows = load.run(spec, prefix)
            assert endings(rows) <= allowed
            assert count(rows, OK) >= len(rows) / 2
            assert len(peer.connections) > before


def test_a_server_that_goes_away_once_settled_is_not_hammered():
    def on_connect(connection):
        peer.greet(connection)
        connection.goaway()

    with Peer(on_connect=on_connect) as peer, Load(peer.address) as load:
        load.connect(50 * MS)
        for prefix in "ws":
            before = len(peer.connections)
            rows = load.run(STEADY, prefix)
            assert endings(rows) <= {OK, LOST, NO_CONNECTION, REFUSED}
            assert 2 <= len(peer.connections) - before <= 40


def test_after_a_graceful_goaway_a_server_that_is_gone_fails_slots_at_once():
    def on_request(connection, request):
        connection.answer(request)
        if connection.requests == 50:
            connection.goaway()
            stop.set()

    stop = threading.Event()
    with Peer(on_request) as peer, Load(peer.address) as load:
        stopper = threading.Thread(target=lambda: (stop.wait(20), peer.stop()))
        stopper.start()
        assert load.connect()
        rows = load.run(PlanSpec("constant", 1000.0, 1, 300 * MS))
        stopper.join()
        assert endings(rows) <= {OK, LOST, NO_CONNECTION}
        failed = rows[rows["reason"] == Reason.NO_CONNECTION]
        assert len(failed) >= 100
        assert (failed["t_done_ns"] - failed["t_taken_ns"] < 200 * MS).all()


def test_a_goaway_with_open_streams_lets_them_finish():
    def on_request(connection, request):
        if connection.requests == 10:
            connection.goaway()
        connection.later(0.03, lambda: connection.answer(request))

    with Peer(on_request) as peer, Load(peer.address) as load:
        assert load.connect()
        rows = load.run(STEADY)
        assert endings(rows) == {OK}
        assert peer.requests == len(rows)
        assert len(peer.connections) > 2


@pytest.mark.parametrize("code", [2, 11])
def test_a_goaway_with_an_error_fails_what_the_server_did_not_take(code):
    """All streams up to the named one are answered, those above are refused."""

    def on_request(connection, request):
        if connection.requests == 40:
            connection.goaway(request.stream_id, code)
            connection.close()
        connection.answer(request) if connection.requests < 40 else None

    with Peer(on_request) as peer, Load(peer.address) as load:
        assert load.connect()
        for prefix in "ws":
            rows = load.run(STEADY, prefix)
            assert endings(rows) <= {OK, LOST, REFUSED, NO_CONNECTION}
            assert count(rows, LOST) >= 1
            assert count(rows, OK) >= 100


def test_a_goaway_that_refuses_open_streams():
    def on_request(connection, request):
        if request.stream_id == 19:
            connection.goaway(9, 0)
            for stream_id in (1, 3, 5, 7, 9):
                connection.begin(stream_id)
                connection.data(stream_id, framed(answer_to(ids[stream_id])))
                connection.end(stream_id)
        ids[request.stream_id] = request.id

    ids = {}
    with Peer(on_request) as peer, Load(peer.address, cap=10) as load:
        assert load.connect()
        rows = load.run(PlanSpec("constant", 2000.0, 1, 5 * MS))
        assert count(rows, OK) == 5
        assert count(rows, REFUSED) == 5


# Connections that never come to be.


def test_a_server_that_closes_at_once_is_not_hammered():
    with Peer(on_connect=lambda connection: connection.close()) as peer:
        with Load(peer.address) as load:
            assert not load.connect(300 * MS)
            assert load.engine.settled() == [0]
            rows = load.run(PlanSpec("constant", 1000.0, 1, 300 * MS))
            assert endings(rows) == {NO_CONNECTION}
            assert 2 <= len(peer.connections) <= 20
            (report,) = load.engine.connection_report()
            assert report["connects"] == report["losses"] <= 20


def test_a_server_that_closes_once_settled_is_not_hammered():
    def on_connect(connection):
        peer.greet(connection)
        connection.later(0.001, connection.close)

    with Peer(on_connect=on_connect) as peer, Load(peer.address) as load:
        load.connect(50 * MS)
        for prefix in "ws":
            before = len(peer.connections)
            rows = load.run(STEADY, prefix)
            assert endings(rows) <= {OK, LOST, NO_CONNECTION}
            assert 2 <= len(peer.connections) - before <= 40


def test_a_mute_server_is_no_connection():
    """It accepts, and never says SETTINGS."""
    with Peer(on_connect=lambda connection: None, settles=False) as peer:
        with Load(peer.address) as load:
            started_s = time.monotonic()
            assert not load.connect(100 * MS)
            assert 0.1 <= time.monotonic() - started_s < 1.0
            for prefix in "ws":
                rows = load.run(prefix=prefix)
                assert endings(rows) == {NO_CONNECTION}
                assert (rows["t_done_ns"] - rows["t_taken_ns"] < 100 * MS).all()
            assert peer.requests == 0


def test_a_server_that_does_not_acknowledge_settings_is_no_connection():
    with Peer(settles=False) as peer, Load(peer.address) as load:
        assert not load.connect(100 * MS)
        assert endings(load.run()) == {NO_CONNECTION}


def test_nobody_listens():
    with closed_port() as url:
        host, port = url.split(":")
        with Load((host, int(port))) as load:
            assert not load.connect(50 * MS)
            for prefix in "ws":
                rows = load.run(STEADY, prefix)
                assert endings(rows) == {NO_CONNECTION}
                assert (rows["server"] == 0).all()
                assert (rows["t_sent_ns"] == ABSENT_NS).all()
                assert (rows["t_done_ns"] - rows["t_taken_ns"] < 100 * MS).all()


def test_a_server_that_dies_during_the_run():
    with Peer() as peer, Load(peer.address) as load:
        assert load.connect()
        load.at(0.07, peer.stop)
        rows = load.run(STEADY)
        assert endings(rows) <= {OK, LOST, NO_CONNECTION}
        assert rows["outcome"][0] == Outcome.OK
        assert tuple(rows[-1][["outcome", "reason", "status"]]) == NO_CONNECTION
        after = rows[rows["reason"] == Reason.NO_CONNECTION]
        assert len(after) >= 50
        assert (after["t_done_ns"] - after["t_taken_ns"] < 100 * MS).all()
        assert (after["t_sent_ns"] == ABSENT_NS).all()
        assert endings(load.run(prefix="w")) == {NO_CONNECTION}


# Servers that hold requests up.


def test_a_window_of_nothing_sends_nothing():
    with Peer(settings={INITIAL_WINDOW_SIZE: 0}, window=None) as peer:
        with Load(peer.address, timeout_ns=60 * MS, lag_ns=50 * MS) as load:
            assert load.connect()
            for prefix in "ws":
                rows = load.run(prefix=prefix)
                assert endings(rows) == {TIMEOUT}
                assert (rows["t_sent_ns"] == ABSENT_NS).all()
            assert peer.requests == 0
            assert all(connection.data_sizes == [] for connection in peer.connections)
            assert set(peer.connections[0].resets) == {CANCEL}


def test_a_connection_window_that_is_used_up():
    """64 KiB - 1 until widened: 3 requests of 20 kB fit, and part of a fourth."""
    with Peer(settings={INITIAL_WINDOW_SIZE: 1 << 20}, window=None) as peer:
        peer.on_connect = lambda connection: connection.settings(peer.settings)
        with Load(peer.address, body=request_body(20_000), timeout_ns=200 * MS, lag_ns=MS) as load:
            assert load.connect()
            rows = load.run(PlanSpec("constant", 1000.0, 1, 10 * MS))
            assert endings(rows) <= {OK, TIMEOUT, (Outcome.DROPPED, Reason.CLIENT, 0)}
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

    with Peer(on_connect=on_connect, settings={MAX_CONCURRENT_STREAMS: 0}) as peer:
        with Load(peer.address) as load:
            assert load.connect()
            rows = load.run()
            assert endings(rows) == {OK}
            assert (rows["flags"] & Flag.WAITED != 0).all()


def test_a_hung_server_fills_the_cap_and_the_rest_is_backpressure():
    with hanging() as peer, Load(peer.address, cap=7, lag_ns=10 * MS, timeout_ns=80 * MS) as load:
        assert load.connect()
        for prefix in "ws":
            rows = load.run(STEADY, prefix, drain_ns=S)
            assert endings(rows) == {TIMEOUT, BACKPRESSURE}
            assert (rows["server"] == 0).all()
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
def test_at_the_deadline_a_stream_is_kept_or_cancelled(cancel):
    late = answer_after(0.15)
    with Peer(late) as peer:
        options = {"timeout_ns": 50 * MS, "lag_ns": 20 * MS, "cancel_expired": cancel}
        with Load(peer.address, **options) as load:
            assert load.connect()
            long = PlanSpec("constant", 100.0, 1, 300 * MS)
            rows = load.run(long)
            assert endings(rows) == {TIMEOUT}
            assert len(rows) == 30
            connection = peer.connections[0]
            if cancel:
                assert load.segment.in_flight(0, 0)[1] <= 12
                assert len(connection.resets) >= 25
            else:
                assert load.segment.in_flight(0, 0)[1] >= 14
                assert len(connection.resets) <= 20


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


# What the coordinator says meanwhile.


def test_a_cut_takes_no_later_slot():
    spec = PlanSpec("constant", 1000.0, 1, 10 * S)
    with Peer() as peer, Load(peer.address) as load:
        assert load.connect()
        load.at(0.05, lambda: load.segment.cut(80 * MS))
        rows = load.run(spec)
        assert endings(rows) == {OK}
        assert rows["slot"].tolist() == list(range(81))


def test_cancelling_gives_up_at_once():
    spec = PlanSpec("constant", 1000.0, 1, 10 * S)
    with hanging() as peer, Load(peer.address) as load:
        assert load.connect()

        def cancel():
            load.segment.cut(50 * MS)
            load.segment.cancel()
            load.ours.send(b"\n")

        load.at(0.05, cancel)
        started_s = time.monotonic()
        rows = load.run(spec, ends="cancelled")
        assert time.monotonic() - started_s < 1.0
        assert endings(rows) <= {CANCELLED, BACKPRESSURE}
        assert rows["slot"].tolist() == list(range(51))


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
        load.at(0.07, lambda: load.segment.set_verdict(1, 1))
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
    with hanging() as first, Peer() as second:
        with Load(first.address, second.address, cap=3) as load:
            assert load.connect()
            load.at(0.08, lambda: load.segment.set_verdict(1, 1))
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
    assert BURST.facts().slots == 20
