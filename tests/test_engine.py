import contextlib

import numpy as np
import pytest

from harness._response import request_id
from harness.embedded.journal import read_journal
from harness.embedded.model import ModelSpec, TensorSpec
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.plan import PlanSpec
from harness.records import Outcome, Reason
from tests.engine_fixture import (
    CANCELLED,
    CLOSED,
    MS,
    NO_CONNECTION,
    OK,
    TIMEOUT,
    Load,
    S,
    endings,
    request_body,
)
from tests.grpc_fixture import closed_port
from tests.h2wire import DATA, END_HEADERS, END_STREAM, HEADERS, PING
from tests.http2_peer import (
    CONTINUATION,
    ENABLE_PUSH,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PRIORITY,
    Peer,
    answer_to,
    framed,
    header_block,
)

OPENING = {":status": "200", "content-type": "application/grpc"}


def answers(body, status="0"):
    """An answer of these bytes; a function is given the request's id."""

    def answer(connection, request):
        connection.begin(request.stream_id)
        data = body(request.id) if callable(body) else body
        if data:
            connection.data(request.stream_id, data)
        connection.end(request.stream_id, status)

    return answer


def headers_alone(**fields):
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    status = {":status": named.pop("http", "200"), "content-type": "application/grpc"}
    return lambda connection, request: connection.headers(
        request.stream_id, status | named, end=True
    )


def resets(code):
    return lambda connection, request: connection.reset(request.stream_id, code)


def reset_in_the_middle(connection, request):
    connection.begin(request.stream_id)
    connection.data(request.stream_id, framed(answer_to(request.id))[:20])
    connection.reset(request.stream_id, 2)


def no_grpc_status(connection, request):
    connection.begin(request.stream_id)
    connection.data(request.stream_id, framed(answer_to(request.id)))
    connection.headers(request.stream_id, {"x": "y"}, end=True)


def ended_by_data(connection, request):
    connection.begin(request.stream_id)
    connection.send(DATA, END_STREAM, request.stream_id, framed(answer_to(request.id)))
    connection.bodies.pop(request.stream_id)


def no_http_status(connection, request):
    connection.headers(request.stream_id, {"grpc-status": "0"}, end=True)


def upper_case_header(connection, request):
    connection.headers(request.stream_id, {":status": "200", "X-Y": "z"}, end=True)


def byte_by_byte(connection, request):
    connection.begin(request.stream_id)
    for byte in framed(answer_to(request.id)):
        connection.data(request.stream_id, bytes([byte]))
    connection.end(request.stream_id)


def padded_and_interspersed(connection, request):
    stream_id = request.stream_id
    connection.headers(stream_id, {":status": "103", "link": "x"})
    connection.begin(stream_id)
    body = framed(answer_to(request.id))
    connection.send(DATA, PADDED, stream_id, b"\5" + body[:7] + bytes(5))
    connection.send(PRIORITY, 0, stream_id, bytes(5))
    connection.send(0xBE, 0, 0, b"a frame of a kind unknown")
    connection.send(PING, 0, 0, b"12345678")
    connection.data(stream_id, b"")
    connection.data(stream_id, body[7:])
    block = header_block({"x": "y", "grpc-status": "0"})
    connection.send(HEADERS, END_STREAM, stream_id, block[:5])
    connection.send(CONTINUATION, END_HEADERS, stream_id, block[5:])
    connection.bodies.pop(stream_id)


GRPC = (Outcome.ERROR, Reason.GRPC_STATUS)
INVALID = (Outcome.ERROR, Reason.INVALID_RESPONSE)
RESET = (Outcome.ERROR, Reason.STREAM_RESET)
TOO_LARGE = (Outcome.ERROR, Reason.TOO_LARGE, 8)
WRONG_ID = (Outcome.ERROR, Reason.WRONG_ID, 13)

ANSWERS = {
    "right": (Peer().on_request, OK),
    "byte-by-byte": (byte_by_byte, OK),
    "padded": (padded_and_interspersed, OK),
    "two-outputs": (answers(lambda i: framed(answer_to(i, outputs=2))), OK),
    "trailers-only": (headers_alone(grpc_status="8"), (*GRPC, 8)),
    "trailers-only-ok": (headers_alone(grpc_status="0"), (*INVALID, 13)),
    "status-after-answer": (answers(lambda i: framed(answer_to(i)), "13"), (*GRPC, 13)),
    "status-above-all": (headers_alone(grpc_status="99"), (*GRPC, 99)),
    "status-no-number": (headers_alone(grpc_status="abc"), (*GRPC, 2)),
    "status-empty": (headers_alone(grpc_status=""), (*GRPC, 2)),
    "status-negative": (headers_alone(grpc_status="-1"), (*GRPC, 2)),
    "status-too-long": (headers_alone(grpc_status="0000"), (*GRPC, 2)),
    "status-over-http": (headers_alone(http="503", grpc_status="8"), (*GRPC, 8)),
    "no-grpc-status": (no_grpc_status, (*INVALID, 2)),
    "ended-by-data": (ended_by_data, (*INVALID, 2)),
    **{
        f"http-{http}": (headers_alone(http=str(http)), (*GRPC, status))
        for http, status in {
            400: 13,
            401: 16,
            403: 7,
            404: 12,
            429: 14,
            500: 2,
            502: 14,
            503: 14,
            504: 14,
            302: 2,
        }.items()
    },
    # PROTOCOL-HTTP2.md, Errors: what each RST_STREAM code means.
    **{
        f"reset-{code}": (resets(code), (*RESET, status))
        for code, status in {
            0: 13,
            1: 13,
            2: 13,
            3: 13,
            6: 13,
            7: 14,
            8: 1,
            9: 13,
            10: 13,
            11: 8,
            12: 7,
            0xDEAD: 13,
        }.items()
    },
    "reset-in-the-middle": (reset_in_the_middle, (*RESET, 13)),
    "no-http-status": (no_http_status, (*RESET, 13)),
    "upper-case-header": (upper_case_header, (*RESET, 13)),
    "wrong-id": (answers(framed(answer_to("s" + "f" * 15))), WRONG_ID),
    "no-id": (answers(framed(answer_to(""))), WRONG_ID),
    "empty-message": (answers(framed(b"")), WRONG_ID),
    "no-message": (answers(b""), (*INVALID, 13)),
    "half-a-prefix": (answers(b"\0\0"), (*INVALID, 13)),
    "half-a-message": (answers(lambda i: framed(answer_to(i))[:-1]), (*INVALID, 13)),
    "two-messages": (answers(lambda i: framed(answer_to(i)) * 2), (*INVALID, 13)),
    "compressed": (answers(lambda i: framed(answer_to(i), compressed=1)), (*INVALID, 13)),
    "no-protobuf": (answers(framed(b"\xff" * 50)), (*INVALID, 13)),
    "no-outputs": (answers(lambda i: framed(answer_to(i, outputs=0))), (*INVALID, 13)),
    "too-large": (answers(lambda i: framed(answer_to(i) + bytes(6000))), TOO_LARGE),
    "huge-by-its-prefix": (answers(b"\0\xff\xff\xff\xff"), TOO_LARGE),
}


@pytest.mark.parametrize(("on_request", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_every_answer_gets_its_outcome_twice_in_a_row(on_request, expected):
    with Peer(on_request) as peer, Load(peer.address, limit_bytes=5000) as load:
        assert load.connect()
        assert load.engine.settled() == [1]
        for prefix in "ws":
            rows = load.run(prefix=prefix)
            assert endings(rows) == {expected}
            assert len(rows) == 20
            assert (rows["t_done_ns"] > rows["t_taken_ns"]).all()
        assert peer.requests == 40
        assert len(peer.connections) == 1


BODIES = {
    "no-bytes-but-the-id": request_body(0),
    "small": request_body(64),
    "700-kB": request_body(700_000),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_requests_arrive_whole_each_with_its_own_id(body):
    received = []

    def on_request(connection, request):
        received.append(request.message)
        connection.answer(request)

    template, id_offset = body
    with Peer(on_request) as peer, Load(peer.address, body=body) as load:
        assert load.connect()
        for prefix in "ws":
            received.clear()
            rows = load.run(prefix=prefix)
            assert endings(rows) == {OK}
            head, tail = template[5:id_offset], template[id_offset + 16 :]
            expected = {head + request_id(prefix, slot) + tail for slot in range(len(rows))}
            assert len(received) == len(rows)
            assert set(received) == expected
        assert max(peer.connections[0].data_sizes) <= 16_384


@pytest.mark.parametrize("window", [1, 7, 50])
def test_an_id_cut_by_small_frames_is_patched_all_the_same(window):
    received = []

    def on_request(connection, request):
        received.append(request.message)
        connection.answer(request)

    settings = {INITIAL_WINDOW_SIZE: 0}
    template, id_offset = request_body(8)
    with (
        Peer(on_request, settings=settings, window=window) as peer,
        Load(peer.address, body=(template, id_offset)) as load,
    ):
        assert load.connect()
        rows = load.run()
    assert endings(rows) == {OK}
    assert set(received) == {
        template[5:id_offset] + request_id("s", slot) for slot in range(len(rows))
    }
    assert max(peer.connections[0].data_sizes) <= window


def test_larger_frames_are_used_where_the_server_takes_them():
    settings = {MAX_FRAME_SIZE: 1 << 22, INITIAL_WINDOW_SIZE: 1 << 22}
    body = request_body(700_000)
    with Peer(settings=settings, window=1 << 22) as peer, Load(peer.address, body=body) as load:
        assert load.connect()
        assert endings(load.run()) == {OK}
        assert max(peer.connections[0].data_sizes) == 1 << 18


def test_connections_share_the_load():
    with Peer() as peer, Load(peer.address, lanes=3) as load:
        assert load.connect()
        assert load.engine.settled() == [3]
        for prefix in "ws":
            assert endings(load.run(prefix=prefix)) == {OK}
        assert sorted(connection.requests for connection in peer.connections) == [13, 13, 14]


@pytest.mark.parametrize("spin", [False, True])
def test_a_worker_sends_its_share_alone(spin):
    with Peer() as peer, Load(peer.address, worker=1, workers=3, spin=spin) as load:
        assert load.connect()
        for prefix in "ws":
            rows = load.run(prefix=prefix)
            assert endings(rows) == {OK}
            assert rows["slot"].tolist() == list(range(1, 20, 3))
            assert load.segment.cursor(1) == 20
            assert load.segment.cursor(0) == 0
        assert peer.requests == 14


def test_an_empty_plan_ends_at_once():
    with Peer() as peer, Load(peer.address) as load:
        assert load.connect()
        rows = load.run(PlanSpec("poisson", 0.001, 1, MS))
        assert len(rows) == 0


def test_the_client_asks_for_what_it_needs():
    with Peer() as peer, Load(peer.address) as load:
        assert load.connect()
        assert endings(load.run()) == {OK}
        settings = peer.connections[0].client_settings
        assert settings[ENABLE_PUSH] == 0
        assert settings[INITIAL_WINDOW_SIZE] == 1 << 24


def test_pings_are_answered_and_none_are_sent():
    def on_request(connection, request):
        connection.send(PING, 0, 0, b"12345678")
        connection.answer(request)

    with Peer(on_request) as peer, Load(peer.address) as load:
        assert load.connect()
        for prefix in "ws":
            assert endings(load.run(prefix=prefix)) == {OK}
        # The last ones came together with the last answers, after which nothing is written.
        assert peer.connections[0].pings_answered >= 1


def test_the_first_error_is_reported_as_the_server_said_it():
    def on_request(connection, request):
        message = f"no. {connection.requests} " + "x" * 90
        connection.headers(
            request.stream_id, OPENING | {"grpc-status": "8", "grpc-message": message}, end=True
        )

    with Peer(on_request) as peer, Load(peer.address) as load:
        assert load.connect()
        for first in (1, 21):
            load.run()
            (report,) = load.engine.connection_report()
            assert (report["connects"], report["losses"]) == (1, 0)
            assert report["first_error_status"] == 8
            assert report["first_error_message"] == f"no. {first} " + "x" * 90


def test_without_errors_nothing_is_reported():
    with Peer() as peer, Load(peer.address) as load:
        assert load.connect()
        load.run()
        (report,) = load.engine.connection_report()
        assert report["first_error_status"] is None
        assert report["first_error_message"] == ""


@pytest.mark.parametrize("size_bytes", [64, 700_000])
def test_the_embedded_server_answers_all_and_its_journal_holds_the_ids(tmp_path, size_bytes):
    journal = tmp_path / "journal"
    dims = (size_bytes // 4,)
    model = ModelSpec(
        inputs=(TensorSpec("INPUT0", "FP32", dims),), outputs=(TensorSpec("OUTPUT0", "FP32", dims),)
    )
    spec = PlanSpec("poisson", 2000.0 if size_bytes < 1000 else 100.0, 3, 200 * MS)
    with EmbeddedServer(ServeConfig(model=model, journal=str(journal))) as server:
        host, port = server.url.split(":")
        body = request_body(size_bytes)
        with Load((host, int(port)), body=body, limit_bytes=1 << 22) as load:
            assert load.connect()
            for prefix in "ws":
                rows = load.run(spec, prefix)
                assert endings(rows) == {OK}
                assert (rows["response_bytes"] > size_bytes).all()
        slots = spec.facts().slots
        ids = read_journal(journal)["id"].tolist()
    assert sorted(ids) == sorted(request_id(p, slot) for p in "ws" for slot in range(slots))


def test_a_graceful_goaway_of_the_embedded_server_loses_no_request():
    spec = PlanSpec("poisson", 2000.0, 3, 200 * MS)
    script = ";".join(f"{ms}ms: goaway" for ms in range(20, 300, 40))
    with EmbeddedServer(ServeConfig(script=script)) as server:
        host, port = server.url.split(":")
        with Load((host, int(port))) as load:
            assert load.connect()
            for prefix in "ws":
                assert endings(load.run(spec, prefix)) == {OK}
            (report,) = load.engine.connection_report()
            assert report["connects"] >= 4


@contextlib.contextmanager
def closed_loop(*scripts, latency="1ms", **options):
    """An engine on one embedded server a script."""
    with contextlib.ExitStack() as stack:
        addresses = []
        for script in scripts:
            config = ServeConfig(script=script, latency=latency)
            host, port = stack.enter_context(EmbeddedServer(config)).url.split(":")
            addresses.append((host, int(port)))
        load = stack.enter_context(Load(*addresses, **options))
        assert load.connect()
        yield load


@pytest.mark.parametrize(
    ("cap", "worker", "workers", "spin"),
    [(1, 0, 1, False), (8, 0, 1, False), (8, 0, 1, True), (5, 1, 3, False)],
)
def test_a_closed_loop_ends_with_its_limit_and_keeps_the_cap_full(cap, worker, workers, spin):
    with closed_loop("", cap=cap, worker=worker, workers=workers, spin=spin) as load:
        for prefix in "ws":
            rows = load.run(PlanSpec("closed", None, 1, 10 * S), prefix, limit=61)
            assert endings(rows) == {OK}
            assert len(rows) == len(range(worker, 61, workers))
            assert load.segment.in_flight(worker, 0) == (0, min(cap, len(rows)))
    # A slot is taken for each answer, and not before it.
    done_ns = np.sort(rows["t_done_ns"])
    assert (rows["t_taken_ns"][cap:] >= done_ns[: max(0, len(rows) - cap)]).all()


def test_a_closed_loop_of_no_slots_ends_at_once():
    with closed_loop("") as load:
        assert len(load.run(CLOSED, limit=0)) == 0


def test_a_closed_loop_takes_slots_until_its_end_and_none_after():
    with closed_loop("", cap=4, latency="2ms") as load:
        rows = load.run(CLOSED)
    assert endings(rows) == {OK}
    assert 20 < len(rows) <= 4 * 150 / 2 + 4
    assert 75 * MS < rows["t_taken_ns"].max() < CLOSED.duration_ns


def test_a_cut_closed_loop_takes_no_slot_after_the_cut():
    with closed_loop("", cap=4) as load:
        cut = [0]

        def cut_it():
            cut[0] = load.segment.cut_soon(load.origin_ns, 20 * MS, CLOSED.duration_ns)

        load.at(0.04, cut_it)
        rows = load.run(CLOSED)
    assert cut[0] >= 60 * MS
    assert 30 * MS < rows["t_taken_ns"].max() <= cut[0]


def test_what_a_server_holds_that_was_left_counts_no_more():
    with closed_loop("0s: hang", "", cap=6) as load:
        load.at(0.05, lambda: load.segment.set_verdict(1, (1,)))
        rows = load.run(CLOSED, drain_ns=50 * MS)
        assert [load.segment.in_flight(0, server)[1] for server in (0, 1)] == [6, 6]
    held, answered = rows[rows["server"] == 0], rows[rows["server"] == 1]
    assert endings(held) == {CANCELLED}
    assert len(held) == 6
    assert endings(answered) == {OK}
    assert len(answered) > 30
    assert answered["t_taken_ns"].min() > held["t_taken_ns"].max()


@pytest.mark.parametrize("cancel_expired", [False, True])
def test_an_expired_stream_holds_its_place_unless_it_is_cancelled(cancel_expired):
    with closed_loop(
        "0s: hang", cap=3, timeout_ns=40 * MS, lag_ns=MS, cancel_expired=cancel_expired
    ) as load:
        rows = load.run(CLOSED, drain_ns=60 * MS)
    assert endings(rows) == {TIMEOUT}
    assert (len(rows) == 3) != cancel_expired
    assert len(rows) <= 3 * 4


def test_without_a_connection_a_slot_is_tried_each_millisecond():
    with closed_port() as url:
        host, port = url.split(":")
        with Load((host, int(port)), cap=16) as load:
            assert not load.connect(50 * MS)
            rows = load.run(CLOSED)
    assert endings(rows) == {NO_CONNECTION}
    assert np.diff(rows["t_taken_ns"]).min() >= MS
    assert 30 < len(rows) <= 150


def test_values_that_do_not_fit():
    with Peer() as peer, pytest.raises(ValueError, match="id must lie within the body"):
        Load(peer.address, body=(b"\0" * 20, 5))
