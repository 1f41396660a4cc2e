import numpy as np
import pytest

from harness.records import Outcome, Reason
from tests.engine_fixture import BURST, MS, S, Load, endings
from tests.http2_peer import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    Peer,
    answer_to,
    framed,
    header_block,
)

OK = (Outcome.OK, Reason.NONE, 0)
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
