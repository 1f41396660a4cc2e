import contextlib
import socket
import struct
import time

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from harness._response import request_id
from harness.embedded.server import EmbeddedServer, ServeConfig
from tests.h2wire import GOAWAY, HEADERS, SETTINGS, Wire, frame


def served(script, **options):
    return EmbeddedServer(ServeConfig(script=script, **options))


def eventually_answers(url, within_s=10.0):
    deadline = time.monotonic() + within_s
    while True:
        try:
            with Wire(url, timeout_s=2) as wire:
                assert wire.infer(1)
                return
        except (AssertionError, OSError):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def answered(wire, stream):
    """Whether a request got a message, not only a status."""
    return bool(wire.infer(stream))


def test_latency_begins_with_the_first_request_and_ends_on_time():
    with served("0s: latency=150ms; 400ms: ok") as server, Wire(server.url) as wire:
        start = time.monotonic()
        assert answered(wire, 1)
        assert time.monotonic() - start >= 0.150
        stream = 3
        while True:
            start_one = time.monotonic()
            assert answered(wire, stream)
            stream += 2
            if time.monotonic() - start_one < 0.1:
                break
            assert time.monotonic() - start < 10
        assert time.monotonic() - start >= 0.4


def test_the_clock_waits_for_the_first_request():
    with served("200ms: error=INTERNAL") as server, Wire(server.url) as wire:
        time.sleep(0.4)
        assert answered(wire, 1)
        deadline = time.monotonic() + 10
        stream = 3
        while answered(wire, stream):
            stream += 2
            assert time.monotonic() < deadline


def test_probes_and_warm_up_do_not_start_the_clock():
    channel_options = [("grpc.use_local_subchannel_pool", 1)]
    with (
        served("0s: error=INTERNAL") as server,
        grpc.insecure_channel(server.url, channel_options) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name="identity")
        request.inputs.add(name="INPUT0", datatype="FP32", shape=[16])
        request.raw_input_contents.append(bytes(64))
        for prefix in "pw":
            request.id = request_id(prefix, 7).decode()
            assert stub.ModelInfer(request, timeout=5).id == request.id
        request.id = request_id("s", 7).decode()
        with pytest.raises(grpc.RpcError) as failed:
            stub.ModelInfer(request, timeout=5)
        assert failed.value.code() == grpc.StatusCode.INTERNAL


def test_a_share_of_errors():
    with served("0s: error=UNAVAILABLE@20%", seed=4) as server, Wire(server.url) as wire:
        answers = sum(answered(wire, 2 * i + 1) for i in range(1000))
    # Binomial(1000, 0.8): five standard deviations are 63.
    assert 737 <= answers <= 863


def test_a_share_of_latency_and_the_rest_at_base():
    config = ServeConfig(script="0s: latency=300ms@50%", latency="1ms", seed=4)
    with EmbeddedServer(config) as server, Wire(server.url) as wire:
        slow = 0
        for i in range(12):
            start = time.monotonic()
            assert answered(wire, 2 * i + 1)
            slow += time.monotonic() - start >= 0.3
    assert 1 <= slow <= 11


def test_hang_stops_everything_and_goes_on_where_it_was():
    with served("100ms: hang; 700ms: ok", latency="200ms") as server, Wire(server.url) as wire:
        start = time.monotonic()
        wire.send(wire.request(1))
        time.sleep(0.3)
        with Wire(server.url) as other:  # accepted by the kernel alone
            other.send(other.request(1))
            other.sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                other.sock.recv(1)
            wire.until_end_of(1)
            assert time.monotonic() - start >= 0.69
            other.until_end_of(1)


def test_hang_holds_the_request_that_starts_the_clock():
    with served("0s: hang; 300ms: ok") as server, Wire(server.url) as wire:
        start = time.monotonic()
        assert answered(wire, 1)
        assert time.monotonic() - start >= 0.299


def test_goaway_lets_streams_finish():
    with served("100ms: goaway", latency="400ms") as server, Wire(server.url) as wire:
        wire.send(wire.request(1))
        frames = wire.until_closed()
        goaways = [f for f in frames if f.kind == GOAWAY]
        assert [struct.unpack(">II", f.payload[:8]) for f in goaways] == [(2**31 - 1, 0), (1, 0)]
        ended = [f for f in frames if f.stream == 1 and f.kind == HEADERS][-1]
        assert frames.index(ended) > frames.index(goaways[0])
        eventually_answers(server.url)


def test_goaway_is_final_even_for_a_client_that_never_answers_the_ping():
    with served("50ms: goaway") as server:
        host, port = server.url.split(":")
        with Wire(server.url) as wire:
            wire.infer(1)
            wire.sock.settimeout(10)
            while wire.sock.recv(4096):
                pass
        with socket.create_connection((host, int(port)), timeout=5):
            pass


def test_goaway_abrupt_disowns_every_stream():
    with served("100ms: goaway_abrupt", latency="10s") as server, Wire(server.url) as wire:
        wire.send(wire.request(1))
        frames = wire.until_closed()
        assert frames[-1].kind == GOAWAY
        assert struct.unpack(">II", frames[-1].payload[:8]) == (0, 2)
        assert not [f for f in frames if f.stream == 1]


def test_reset_resets_and_new_connections_are_served():
    with served("100ms: reset") as server, Wire(server.url) as wire:
        assert answered(wire, 1)
        with pytest.raises(ConnectionResetError):
            wire.until_closed()
        eventually_answers(server.url)


def test_refuse_lasts_until_the_next_entry():
    with served("50ms: refuse; 600ms: ok") as server, Wire(server.url) as wire:
        start = time.monotonic()
        assert answered(wire, 1)
        with contextlib.suppress(ConnectionResetError):
            wire.until_closed()
        with pytest.raises(ConnectionRefusedError):
            Wire(server.url)
        eventually_answers(server.url)
        assert time.monotonic() - start >= 0.6


def test_halfclose_ends_our_side_and_keeps_reading():
    with served("50ms: halfclose") as server, Wire(server.url) as wire:
        assert answered(wire, 1)
        wire.until_closed()
        for i in range(200):
            wire.send(wire.request(3 + 2 * i))
        assert wire.sock.recv(1) == b""
        eventually_answers(server.url)


def test_garbage_is_no_frame_and_the_connection_ends():
    with served("50ms: garbage", seed=8) as server, Wire(server.url) as wire:
        assert answered(wire, 1)
        data = b""
        while chunk := wire.sock.recv(4096):
            data += chunk
        noise = wire.received + data
        while len(noise) > 512:  # acknowledged settings may come before it
            noise = noise[9 + int.from_bytes(noise[:3], "big") :]
        assert len(noise) == 512
        assert len(set(noise)) > 100
        eventually_answers(server.url)


def test_one_shot_faults_leave_the_server_as_under_ok():
    script = "0s: error=INTERNAL; 100ms: reset"
    with served(script) as server:
        with Wire(server.url) as wire:
            assert not answered(wire, 1)
            with pytest.raises(ConnectionResetError):
                wire.until_closed()
        eventually_answers(server.url)


def test_phases_come_on_time_without_traffic():
    with served("300ms: goaway_abrupt") as server, Wire(server.url) as wire:
        assert answered(wire, 1)
        start = time.monotonic()
        wire.until_closed()
        assert 0.1 < time.monotonic() - start < 1.5


def test_settings_come_first():
    with served("") as server, Wire(server.url) as wire:
        first = wire.next_frame()
        assert first.kind == SETTINGS
        wire.send(frame(6, 0, 0, b"12345678"))
        while (got := wire.next_frame()).kind != 6:
            pass
        assert got.payload == b"12345678"
