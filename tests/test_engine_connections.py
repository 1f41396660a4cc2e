"""The engine against connections that break, go away or never come to be."""

import threading
import time

import pytest

from harness.plan import PlanSpec
from harness.records import ABSENT_NS, Outcome, Reason
from tests.engine_fixture import (
    LOST,
    MS,
    NO_CONNECTION,
    OK,
    REFUSED,
    STEADY,
    Load,
    S,
    count,
    endings,
)
from tests.grpc_fixture import closed_port
from tests.http2_peer import (
    Peer,
    answer_to,
    framed,
)

LEAST_BACKOFF_S = 0.005


def at_every(number, fault):
    """Answer, but do ``fault(connection, request)`` instead to each number-th of a connection."""

    def on_request(connection, request):
        if connection.requests % number:
            connection.answer(request)
        else:
            fault(connection, request)

    return on_request


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
            assert count(rows, OK) >= 49
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
            assert count(rows, OK) >= 19
            assert len(peer.connections) > before


def test_a_server_that_goes_away_once_settled_is_not_hammered():
    def on_connect(connection):
        peer.greet(connection)
        connection.goaway()

    with Peer(on_connect=on_connect) as peer, Load(peer.address) as load:
        load.connect(50 * MS)
        for prefix in "ws":
            before, started_s = len(peer.connections), time.monotonic()
            rows = load.run(STEADY, prefix)
            assert endings(rows) <= {OK, LOST, NO_CONNECTION, REFUSED}
            most = (time.monotonic() - started_s) / LEAST_BACKOFF_S + 2
            assert 2 <= len(peer.connections) - before <= most


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
        if connection.requests < 40:
            connection.answer(request)
        else:
            connection.goaway(request.stream_id, code)
            connection.close()

    with Peer(on_request) as peer, Load(peer.address) as load:
        assert load.connect()
        for prefix in "ws":
            rows = load.run(STEADY, prefix)
            assert endings(rows) <= {OK, LOST, REFUSED, NO_CONNECTION}
            assert count(rows, LOST) >= 1
            assert count(rows, OK) >= 39


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


def test_a_server_that_closes_at_once_is_not_hammered():
    with (
        Peer(on_connect=lambda connection: connection.close()) as peer,
        Load(peer.address) as load,
    ):
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
            before, started_s = len(peer.connections), time.monotonic()
            rows = load.run(STEADY, prefix)
            assert endings(rows) <= {OK, LOST, NO_CONNECTION}
            most = (time.monotonic() - started_s) / LEAST_BACKOFF_S + 2
            assert 2 <= len(peer.connections) - before <= most


def test_a_mute_server_is_no_connection():
    """It accepts, and never says SETTINGS."""
    with (
        Peer(on_connect=lambda connection: None, settles=False) as peer,
        Load(peer.address) as load,
    ):
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
        rows = load.run(PlanSpec("constant", 1000.0, 1, 400 * MS))
        assert endings(rows) <= {OK, LOST, NO_CONNECTION}
        assert rows["outcome"][0] == Outcome.OK
        assert tuple(rows[-1][["outcome", "reason", "status"]]) == NO_CONNECTION
        after = rows[rows["reason"] == Reason.NO_CONNECTION]
        assert len(after) >= 50
        assert (after["t_done_ns"] - after["t_taken_ns"] < 100 * MS).all()
        assert (after["t_sent_ns"] == ABSENT_NS).all()
        assert endings(load.run(prefix="w")) == {NO_CONNECTION}
