"""Closing lines of devices, energy and cost."""

import json
from typing import Any

import pytest

from harness.devices.device import DeviceUse
from harness.results.books import check_books
from harness.results.closing import closing_text
from harness.results.device_text import device_lines, devices_of
from harness.results.findings import judge
from harness.results.lines import WIDTH
from harness.results.summarize import build_summary
from harness.results.summary import Summary
from tests.results.used_devices import S, used
from tests.synthetic import synthetic_run


def summary_of(devices: list[list[DeviceUse]], **changes: Any) -> Summary:
    run = synthetic_run(urls=("gpu1:8001", "gpu2:8001"), **changes)
    run.devices = devices
    return build_summary(run, judge(run, check_books(run)))


def lines_of(devices: list[list[DeviceUse]], **changes: Any) -> list[str]:
    found = list(device_lines(summary_of(devices, **changes)))
    assert all(len(line) <= WIDTH and line.isprintable() for line in found)
    return found


H100 = "NVIDIA H100 80GB HBM3, driver 550.54.15: SM 1755 of 1980 MHz,"


def test_nothing_known() -> None:
    assert lines_of([]) == lines_of([[], []]) == []


def test_one_device_and_its_energy() -> None:
    in_time = summary_of([]).totals.in_time
    assert lines_of([[used("A", 30_000.0)], [used("A", 30_000.0)]]) == [
        f"device     {H100} 312 of",
        "           700 W, throttled (power 3.0 s)",
        "energy     30 kJ in 10.0 s by 1 whole device:"
        f" {30_000 / in_time:.3g} J per in-SLO inference",
    ]


def test_alike_ones_share_a_line() -> None:
    devices = [used("A"), used("B", sm_clock_mhz=1500, power_w=699.6), used("C", throttled_ns={})]
    device, more, energy = lines_of([devices, []], slo_ns=None)
    assert device + more[10:] == (
        "device     3 x NVIDIA H100 80GB HBM3, driver 550.54.15: SM 1500-1755 of 1980 MHz,"
        " 312-700 of 700 W, throttled (power 3.0 s)"
    )
    assert energy.startswith("energy     A 9 kJ (")
    assert energy.endswith(" J per OK inference), B unknown")


def test_others_have_their_own() -> None:
    other = used("B", power_cap_w=500.0, throttled_ns={"power": S + 40_000_000})
    lines = " ".join(" ".join(lines_of([[used("A"), other], []])).split())
    assert "312 of 700 W, throttled (power 3.0 s)" in lines
    assert "312 of 500 W, throttled (sw power cap)" in lines


def test_what_is_not_told_is_left_out() -> None:
    nothing = {
        name: None
        for name in ("driver", "sm_clock_mhz", "sm_clock_limit_mhz", "power_w", "energy_j")
    }
    quiet = {"throttle_reasons": (), "throttled_ns": {}}
    assert lines_of([[used("A", **nothing, **quiet)], []]) == [
        "device     NVIDIA H100 80GB HBM3: up to 700 W"
    ]
    assert lines_of([[used("A", **nothing, **quiet, power_cap_w=None, name="GPU")], []]) == [
        "device     GPU"
    ]


@pytest.mark.parametrize(
    ("joules", "text"),
    [(2e6, "2 MJ"), (1234.0, "1.23 kJ"), (12.0, "12 J"), (0.5, "500 mJ")],
)
def test_units(joules: float, text: str) -> None:
    assert f"energy     {text} in 10.0 s" in "\n".join(lines_of([[used("A", joules)]] * 2))


def test_cost() -> None:
    in_slo = summary_of([]).rate.in_slo
    (line,) = lines_of([], config={"cost_usd_per_h": 3.6})
    assert line == f"cost       3.6 USD/h: {1000 / in_slo:.3g} USD per million in-SLO inferences"
    (line,) = lines_of([], config={"cost_usd_per_h": 2}, cut_ns=0)
    assert line == "cost       2 USD/h: no in-SLO inference"


def test_they_stand_in_the_closing_text() -> None:
    text = closing_text(summary_of([[used("A")], []], config={"cost_usd_per_h": 2}))
    labels = [line.split()[0] for line in text.splitlines()]
    assert labels.index("device") < labels.index("energy") < labels.index("cost")
    assert labels.index("cost") < labels.index("client")


def test_hostile_devices_of_a_file() -> None:
    content = json.loads(summary_of([[used("A")], []]).to_json())
    good = content["servers"][0]["devices"][0]
    content["servers"][0]["devices"] = [
        None,
        7,
        {},
        good | {"power_w": 1e300},
        good | {"name": 5},
        good | {"uuid": "B", "name": "\x1b[2J\u202eH100" * 40, "driver": "\x07" * 900},
        good | {"uuid": "C", "throttle_reasons": ["\x1b]0;x" * 99] * 999, "throttled_s": {}},
        good | {"uuid": "D", "throttled_s": {f"\x1b{n}": 2.0 for n in range(999)}},
    ]
    content["servers"][1]["devices"] = {"name": "x"}
    summary = Summary.model_validate(content)
    assert [one.uuid for one in devices_of(summary)] == ["B", "C", "D"]
    text = closing_text(summary)
    assert text.replace("\n", "").isprintable()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert len(text.splitlines()) < 60
