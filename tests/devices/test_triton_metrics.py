"""The GPUs on Triton's metrics page, recorded and real."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.metrics_page import fetch, samples
from harness.devices.metrics_url import parse_metrics_url
from harness.devices.triton_metrics import MAX_DEVICES, UTILIZATION, UUID, read_page
from tests.devices.pages import CPU_PAGE, FIRST, GPU_PAGE, SECOND


def test_a_page_with_gpus():
    found = read_page(GPU_PAGE.encode(), 7)
    assert list(found) == [FIRST, SECOND]
    one = found[SECOND]
    assert (one.uuid, one.source, one.t_ns) == (SECOND, "metrics", 7)
    assert one.memory_total_bytes == 16101933056
    assert (one.power_w, one.power_cap_w, one.energy_j) == (48.5, 60.0, 1320.5)
    assert one.name == "GPU 15 GiB 60 W"
    assert one.driver is one.sm_clock_mhz is one.sm_clock_limit_mhz is one.temperature_c is None
    assert one.throttle_reasons == ()


@pytest.mark.parametrize("page", ["", CPU_PAGE, "\x00\x01\x02" * 100])
def test_a_page_without(page):
    assert read_page(page.encode(), 0) == {}


@pytest.mark.parametrize(
    ("line", "attribute", "expected"),
    [
        ('nv_gpu_power_usage{gpu_uuid="a"} 0', "power_w", None),
        ('nv_gpu_power_usage{gpu_uuid="a"} -3', "power_w", None),
        ('nv_gpu_power_usage{gpu_uuid="a"} 1e300', "power_w", None),
        ('nv_gpu_power_usage{gpu_uuid="a"} NaN', "power_w", None),
        ('nv_gpu_memory_total_bytes{gpu_uuid="a"} 1e30', "memory_total_bytes", None),
        ('nv_energy_consumption{gpu_uuid="a"} 0', "energy_j", 0.0),
        ('nv_gpu_power_limit{gpu_uuid="a"} 700', "name", "GPU 700 W"),
    ],
)
def test_figures(line, attribute, expected):
    page = f'nv_gpu_utilization{{gpu_uuid="a"}} 0.5\n{line}\n'
    assert getattr(read_page(page.encode(), 0)["a"], attribute) == expected


def test_names_are_cleaned():
    page = 'nv_gpu_utilization{gpu_uuid="\x1b[2JGPU\u202e-1\\n"} 0.5\nnv_gpu_utilization 0.1\n'
    assert list(read_page(page.encode(), 0)) == ["[2JGPU-1"]
    long = f'nv_gpu_utilization{{gpu_uuid="{"x" * 3000}"}} 0.5\n'
    (uuid,) = read_page(long.encode(), 0)
    assert len(uuid) == 80


def test_too_many():
    page = "".join(f'nv_gpu_utilization{{gpu_uuid="{n}"}} 0.5\n' for n in range(MAX_DEVICES + 1))
    with pytest.raises(ValueError, match="65 devices"):
        read_page(page.encode(), 0)


PIECES = ("nv_gpu_power_usage", "nv_energy_consumption", '{gpu_uuid="', '"}', "{", "}", ",", "=",
          '"', " ", "1", "-", "e9", "NaN", "\n", "\\", "#", "\x00", "\u2028", "x")  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_whatever_it_holds_it_is_read_or_refused(pieces):
    try:
        found = read_page("".join(pieces).encode(), 0)
    except ValueError:
        return
    for uuid, one in found.items():
        assert uuid.isprintable()
        assert one.energy_j is None or 0 <= one.energy_j <= 1e15
        assert one.power_w is None or 0 < one.power_w <= 1e5


def test_a_real_triton(triton, wait_until):
    url = parse_metrics_url(triton.metrics_url)
    # Its metrics service starts after the others.
    wait_until(lambda: fetch(url, time.monotonic() + 2) is not None, 20)
    page = fetch(url, time.monotonic() + 10)
    assert page is not None
    models = {one.labels["model"] for one in samples(page, {"nv_inference_request_success"})}
    assert "identity" in models
    gpus = {one.labels[UUID] for one in samples(page, {UTILIZATION})}
    assert set(read_page(page, 0)) >= gpus
