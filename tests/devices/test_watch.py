"""Which devices belong to which server, and that nobody waits for them."""

import threading
import time

import psutil
import pytest

from harness.bench import Bench
from harness.config import NS_PER_S, BenchConfig
from harness.control.address import parse_address
from harness.devices.nvml import Nvml
from harness.devices.watch import DeviceWatch, is_here
from harness.embedded.model import parse_model
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.errors import UsageError
from tests.devices.fake_nvml import FakeDevice, FakeNvml
from tests.devices.pages import (
    CPU_PAGE,
    FIRST,
    GPU_PAGE,
    SECOND,
    energy_page,
    page_server,
    serving,
    slowly,
)
from tests.grpc_fixture import closed_port, raw_server

HERE = "127.0.0.1:1"
ELSEWHERE = "192.0.2.1:8001"
"""A documentation address: no machine has it."""


def config_of(*urls, metrics=("none",), **fields):
    return BenchConfig(model="m", urls=urls, metrics_urls=metrics, **fields)


def no_library():
    return None


def looked(config, open_library=no_library):
    """The devices by server, as UUIDs and sources, of a watch whose readings went well."""
    watch = DeviceWatch(config, open_library)
    watch.find()
    before = watch.look(5).seen()
    after = watch.look(5).seen()
    uses = watch.uses(before, after)
    assert all(use.after is not None for devices in uses for use in devices)
    return [[(use.last.uuid, use.last.source) for use in devices] for devices in uses]


def library_of(*uuids):
    devices = [FakeDevice(uuid) for uuid in uuids]
    return lambda: Nvml(FakeNvml(*devices))


def test_a_server_here_has_this_machines_gpus():
    urls = (HERE, ELSEWHERE)
    assert looked(config_of(*urls), library_of("GPU-a", "GPU-b")) == [
        [("GPU-a", "nvml"), ("GPU-b", "nvml")],
        [],
    ]


def test_a_page_says_which_of_them_it_uses():
    with page_server(GPU_PAGE.encode) as pages:
        config = config_of(HERE, ELSEWHERE, metrics=(pages.url, pages.url))
        assert looked(config, library_of("GPU-x", SECOND)) == [
            [(FIRST, "metrics"), (SECOND, "nvml")],
            [(FIRST, "metrics"), (SECOND, "metrics")],
        ]


def test_a_page_without_gpus_says_nothing():
    with page_server(CPU_PAGE.encode) as pages:
        config = config_of(HERE, ELSEWHERE, metrics=(pages.url, pages.url))
        assert looked(config, library_of("GPU-x")) == [[("GPU-x", "nvml")], []]
        assert looked(config) == [[], []]


def test_nothing_is_asked_where_no_server_is_here():
    opened = []
    watch = DeviceWatch(config_of(ELSEWHERE), lambda: opened.append(1))
    watch.find()
    assert watch.look(5).seen() == {}
    assert opened == []


def test_embedded_servers_use_none():
    config = config_of(HERE, embedded=True)
    assert looked(config, library_of("GPU-a")) == [[]]


def test_without_find_there_is_nothing():
    watch = DeviceWatch(config_of(HERE), library_of("GPU-a"))
    assert watch.look(1).seen() == {}


def test_what_does_not_answer_costs_the_deadline_and_no_more():
    hang = threading.Event()

    def stuck():
        hang.wait(20)

    def drip(sock, pages):
        slowly(sock, pages, iter(lambda: b"x", b""))

    with raw_server(None) as mute, closed_port() as shut, serving(drip) as slow:
        urls = (HERE, "127.0.0.1:2", "127.0.0.1:3")
        watch = DeviceWatch(config_of(*urls, metrics=(mute, shut, slow.url)), stuck)
        start_s = time.monotonic()
        watch.find()
        assert time.monotonic() - start_s < 0.3
        before = watch.look(1.0).seen()
        assert time.monotonic() - start_s < 1.0 + 0.5
        # None of them is asked again.
        start_s = time.monotonic()
        after = watch.look(1.0).seen()
        assert time.monotonic() - start_s < 0.3
        hang.set()
    assert before == after == {}
    assert watch.uses(before, after) == [[], [], []]


def test_one_that_is_found_and_then_hangs_is_left_out():
    answers = threading.Event()
    answers.set()

    def page():
        answers.wait(20)
        return energy_page("GPU-r", 5)

    with page_server(page) as pages:
        watch = DeviceWatch(config_of(ELSEWHERE, metrics=(pages.url,)), no_library)
        watch.find()
        before = watch.look(5).seen()
        answers.clear()
        start_s = time.monotonic()
        after = watch.look(0.3).seen()
        assert time.monotonic() - start_s < 0.3 + 0.5
        answers.set()
    ((use,),) = watch.uses(before, after)
    assert use.after is None


def test_a_library_that_breaks_is_no_library():
    def broken():
        raise OSError("bad driver")

    class Broken:
        NVMLError = KeyError

        def nvmlSystemGetDriverVersion(self):
            raise ZeroDivisionError

    assert looked(config_of(HERE), broken) == [[]]
    assert looked(config_of(HERE), lambda: Nvml(Broken())) == [[]]


def test_metrics_urls_are_checked():
    with pytest.raises(UsageError, match="credentials"):
        DeviceWatch(config_of(HERE, metrics=("http://a:b@c:1",)))
    with pytest.raises(ValueError, match="1 given for 2 -u"):
        config_of(HERE, ELSEWHERE, metrics=("c:1",))
    with pytest.raises(ValueError, match="2 given for 0 -u"):
        config_of(metrics=("c:1", "d:1"))


def own_addresses():
    return [
        one.address
        for several in psutil.net_if_addrs().values()
        for one in several
        if one.family.name == "AF_INET"
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "localhost", *own_addresses()])
def test_here(address):
    assert is_here(parse_address(f"{address}:8001"), time.monotonic() + 5)


@pytest.mark.parametrize("address", ["192.0.2.1", "x" * 70])
def test_not_here(address):
    assert not is_here(parse_address(f"{address}:8001"), time.monotonic() + 2)


def test_a_run_says_what_its_device_used(tmp_path):
    began_s = time.monotonic()

    def page():
        return energy_page("GPU-r", 50 + 100 * (time.monotonic() - began_s))

    model = parse_model("identity", ["IN:FP32:16"], ["OUT:FP32:16"], 8)
    with EmbeddedServer(ServeConfig(model=model)) as server, page_server(page) as pages:
        run = Bench(
            BenchConfig(
                model="identity",
                urls=(server.url,),
                metrics_urls=(pages.url,),
                rate=200.0,
                duration_ns=2 * NS_PER_S,
                warmup_ns=0,
                batch=2,
                spin="never",
                cost_usd_per_h=3.6,
                out=str(tmp_path / "out"),
            )
        ).run()
    assert len(pages.requests) == 3
    summary = run.summary
    ((device,),) = [server["devices"] for server in summary.servers]
    assert (device["uuid"], device["name"], device["source"]) == (
        "GPU-r", "GPU 80 GiB 300 W", "metrics"
    )  # fmt: skip
    assert (device["power_cap_w"], device["sm_clock_limit_mhz"]) == (300, None)
    energy = summary.energy
    assert energy is not None
    assert 2.0 <= energy.span_s < 10.0
    assert energy.joules == pytest.approx(100 * energy.span_s, rel=0.1)
    assert energy.inferences == 2 * summary.totals.ok > 0
    assert energy.joules_per_in_slo == energy.joules / energy.inferences
    assert energy.per_server[server.url].joules == energy.joules
    assert summary.cost is not None
    in_time = summary.rate.ok * 2  # requests in 2 s
    assert summary.cost.usd_per_million == pytest.approx(1e6 * 0.002 / (2 * in_time))
    assert "device     GPU 80 GiB 300 W: up to 300 W" in run.text
    assert "1 whole device" in run.text
    assert "cost       3.6 USD/h: " in run.text


def test_a_real_triton(tmp_path, triton):
    run = Bench(
        BenchConfig(
            model="identity",
            urls=(triton.grpc_url,),
            metrics_urls=(triton.metrics_url,),
            rate=100.0,
            duration_ns=NS_PER_S,
            warmup_ns=0,
            spin="never",
            out=str(tmp_path / "out"),
        )
    ).run()
    assert run.summary.totals.ok == run.summary.totals.sent > 0
    devices = run.summary.servers[0]["devices"]
    assert isinstance(devices, list)
    assert (run.summary.energy is None) == all(one["energy_j"] is None for one in devices)
