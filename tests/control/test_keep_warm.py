"""Standbys are kept warm, counted apart, and never waited for."""

import dataclasses
import os
import signal
import threading
import time

import pytest

from harness.config import BenchConfig, Switching
from harness.control.keep_warm import KeepWarm, KeptWarm, kept_warm
from harness.control.preflight import preflight
from harness.embedded.journal import read_journal
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.slo import parse_slo
from tests.grpc_fixture import GrpcServer, identity_infer

PER_SECOND = 40.0
STOP_LIMIT_S = 0.5


def config_of(*urls, per_second=PER_SECOND, **fields):
    return BenchConfig(
        model="identity", urls=urls, switching=Switching(keep_warm=per_second), **fields
    )


class Journaled:
    """An embedded server and the ids that reached it."""

    def __init__(self, path):
        self.path = str(path)
        self.server = EmbeddedServer(ServeConfig(journal=self.path))

    def ids(self):
        return [one.decode() for one in read_journal(self.path)["id"]]


@pytest.fixture
def journaled(tmp_path):
    pair = [Journaled(tmp_path / f"journal{number}") for number in range(2)]
    with pair[0].server, pair[1].server:
        yield pair


def test_only_what_is_not_in_use_is_kept_warm(journaled, wait_until):
    config = config_of(*(one.server.url for one in journaled))
    checked = preflight(config)
    before = [one.ids() for one in journaled]
    in_use = [0]
    keeper = KeepWarm(config, checked, lambda: tuple(in_use))
    t_start_s = time.monotonic()
    keeper.start()
    wait_until(lambda: len(journaled[1].ids()) >= len(before[1]) + 5)
    assert journaled[0].ids() == before[0]
    in_use[0] = 1
    wait_until(lambda: len(journaled[0].ids()) >= len(before[0]) + 5)
    counts = keeper.stop()
    took_s = time.monotonic() - t_start_s
    after = [one.ids() for one in journaled]
    for count, old, new in zip(counts, before, after, strict=True):
        assert new == [f"p{number:015x}" for number in range(len(new))]
        assert count == KeptWarm(len(new) - len(old), len(new) - len(old))
    assert sum(count.sent for count in counts) <= took_s * PER_SECOND + 2


def test_nothing_is_sent_to_all_in_use_or_a_missing_one(journaled, wait_until):
    config = config_of(*(one.server.url for one in journaled))
    checked = preflight(config)
    before = [one.ids() for one in journaled]
    servers = (checked.servers[0], dataclasses.replace(checked.servers[1], missing="refused"))
    asked = []

    def in_use():
        asked.append(1)
        return (0, 1) if len(asked) < 5 else ()

    keeper = KeepWarm(config, dataclasses.replace(checked, servers=servers), in_use)
    keeper.start()
    wait_until(lambda: len(journaled[0].ids()) > len(before[0]))
    counts = keeper.stop()
    assert len(asked) >= 5
    assert counts[0].ok >= 1
    assert counts[1] == KeptWarm(0, 0)
    assert journaled[1].ids() == before[1]


@pytest.mark.parametrize("slo", [None, "60s"])
def test_a_hung_standby_gets_one_request_and_does_not_hold_up_the_end(slo, wait_until):
    asked, release = threading.Event(), threading.Event()

    def hang(request):
        asked.set()
        release.wait(30)
        return identity_infer(request)

    slo = None if slo is None else parse_slo(slo)
    with GrpcServer() as active, GrpcServer() as standby:
        config = config_of(active.address, standby.address, per_second=1000.0, slo=slo)
        checked = preflight(config)
        standby.infer = hang
        before = standby.requests["ModelInfer"]
        keeper = KeepWarm(config, checked, lambda: (0,))
        handled = []
        previous = signal.signal(
            signal.SIGALRM, lambda number, frame: handled.append(time.monotonic())
        )
        try:
            keeper.start()
            assert asked.wait(10)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            t_start_s = time.monotonic()
            counts = keeper.stop()
            t_end_s = time.monotonic()
            wait_until(lambda: "keep-warm" not in [one.name for one in threading.enumerate()])
        finally:
            release.set()
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        assert t_end_s - t_start_s < STOP_LIMIT_S
        assert handled
        assert handled[0] < t_end_s
        assert counts == [KeptWarm(0, 0), KeptWarm(1, 0)]
        assert standby.requests["ModelInfer"] == before + 1


def test_a_stopped_process_does_not_hold_up_the_end(journaled):
    config = config_of(*(one.server.url for one in journaled))
    checked = preflight(config)
    asked = threading.Event()
    keeper = KeepWarm(config, checked, lambda: asked.set() or (0,))
    os.kill(journaled[1].server.pid, signal.SIGSTOP)
    try:
        keeper.start()
        assert asked.wait(10)
        t_start_s = time.monotonic()
        assert keeper.stop() == [KeptWarm(0, 0), KeptWarm(0, 0)]
        assert time.monotonic() - t_start_s < STOP_LIMIT_S
    finally:
        os.kill(journaled[1].server.pid, signal.SIGCONT)


def test_a_restarted_server_is_found_again(journaled, tmp_path, wait_until):
    config = config_of(*(one.server.url for one in journaled))
    keeper = KeepWarm(config, preflight(config), lambda: (0,))
    keeper.start()
    wait_until(lambda: len(journaled[1].ids()) > 3)
    port = int(journaled[1].server.url.rpartition(":")[2])
    journaled[1].server.stop()
    again = str(tmp_path / "again")
    with EmbeddedServer(ServeConfig(port=port, journal=again)):
        wait_until(lambda: len(read_journal(again)) > 3, timeout_s=15)
        counts = keeper.stop()
    ids = [*journaled[1].ids(), *(one.decode() for one in read_journal(again)["id"])]
    assert len(ids) == len(set(ids))
    assert counts[1].ok >= len(ids) - 2


def test_around_a_run(journaled, wait_until):
    urls = [one.server.url for one in journaled]
    checked = preflight(config_of(*urls))
    with kept_warm(config_of(*urls), checked, lambda: (0,)) as counts:
        wait_until(lambda: len(journaled[1].ids()) > 3)
        assert counts == []
    assert counts[0] == KeptWarm(0, 0)
    assert counts[1].ok >= 2
    for config, found in (
        (config_of(*urls, per_second=0.0), checked),
        (config_of(urls[0]), dataclasses.replace(checked, servers=checked.servers[:1])),
    ):
        threads = threading.active_count()
        with kept_warm(config, found, lambda: ()) as counts:
            assert threading.active_count() <= threads
        assert counts == []
