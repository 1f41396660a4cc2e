import json
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.channel import LINE_LIMIT_BYTES, Channel, ChannelClosed

MESSAGES = st.lists(
    st.dictionaries(
        st.text(max_size=8), st.one_of(st.integers(), st.text(), st.none()), max_size=3
    ),
    max_size=6,
)


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield Channel(one), Channel(other)


def test_a_message_arrives(ends):
    one, other = ends
    message = {"run": {"rate": 0.5, "text": "line\nbreak é", "cpu": None}}
    one.send(message)
    assert other.receive(1.0) == message
    assert other.receive(0) is None


def test_both_ways(ends):
    one, other = ends
    one.send({"a": 1})
    other.send({"b": 2})
    assert one.receive(1.0) == {"b": 2}
    assert other.receive(1.0) == {"a": 1}


@given(MESSAGES, st.lists(st.integers(1, 40), max_size=20), st.integers(0, 3))
def test_lines_cut_anywhere_and_wake_ups_between(messages, cuts, wakes):
    stream = b"".join(json.dumps(message).encode() + b"\n" * (1 + wakes) for message in messages)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(theirs)
        received = []
        for size in [*cuts, len(stream) + 1]:
            ours.sendall(stream[:size])
            stream = stream[size:]
            while (message := channel.receive(0)) is not None:
                received.append(message)
    assert received == messages


def test_a_wake_up_is_seen_and_says_nothing(ends):
    one, other = ends
    one.wake()
    assert other.sock.recv(10, socket.MSG_PEEK) == b"\n"
    assert other.receive(0) is None
    assert other.receive(0) is None


def test_waiting_ends_in_time(ends):
    started_s = time.monotonic()
    assert ends[0].receive(0.05) is None
    assert 0.05 <= time.monotonic() - started_s < 1.0


def test_wake_ups_do_not_prolong_the_wait(ends):
    one, other = ends
    stop = threading.Event()

    def wake():
        while not stop.wait(0.005):
            one.wake()

    thread = threading.Thread(target=wake)
    thread.start()
    started_s = time.monotonic()
    try:
        assert other.receive(0.1) is None
    finally:
        stop.set()
        thread.join()
    assert time.monotonic() - started_s < 1.0


def test_waiting_without_end_for_a_late_message(ends):
    one, other = ends
    thread = threading.Timer(0.05, one.send, [{"late": True}])
    thread.start()
    assert other.receive(None) == {"late": True}
    thread.join()


def test_what_was_said_before_closing_is_heard(ends):
    one, other = ends
    one.send({"last": "words"})
    one.close()
    assert other.receive(1.0) == {"last": "words"}
    with pytest.raises(ChannelClosed):
        other.receive(1.0)


def test_half_a_line_is_no_message(ends):
    one, other = ends
    one.sock.sendall(b'{"half": ')
    one.close()
    with pytest.raises(ChannelClosed):
        other.receive(1.0)


def test_nobody_to_send_to(ends):
    one, other = ends
    other.close()
    with pytest.raises(ChannelClosed):
        one.send({"a": 1})
    with pytest.raises(ChannelClosed):
        one.wake()


def test_a_peer_that_left_without_reading(ends):
    one, other = ends
    one.send({"unread": 1})
    other.send({"a": 1})
    other.close()
    assert one.receive(1.0) == {"a": 1}
    with pytest.raises(ChannelClosed):
        one.receive(1.0)


def test_a_line_without_end_closes(ends):
    one, other = ends

    def flood():
        try:
            while True:
                one.sock.sendall(b"x" * 65536)
        except OSError:
            pass

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        with pytest.raises(ChannelClosed):
            other.receive(10.0)
    finally:
        other.close()
        thread.join()
    assert len(other._received) <= LINE_LIMIT_BYTES + 2 * 65536


def test_a_long_line_within_the_limit(ends):
    one, other = ends
    message = {"text": "x" * (LINE_LIMIT_BYTES - 100)}
    thread = threading.Thread(target=one.send, args=[message])
    thread.start()
    assert other.receive(10.0) == message
    thread.join()


def test_its_descriptor_can_be_polled(ends):
    assert ends[0].fileno() == ends[0].sock.fileno()
