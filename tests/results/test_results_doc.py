"""docs/results.md says what the code does: layout, codes, columns and keys."""

import re
from dataclasses import fields
from enum import IntEnum
from pathlib import Path

import pytest

import harness
from harness.control.preflight import ServerFacts
from harness.host import host_facts
from harness.load import switch as measured_switch
from harness.records import RECORD, Decision, Flag, Outcome, Reason
from harness.results import directory as results
from harness.results import server_findings, switch_findings, validity
from harness.results.cost import CostPart
from harness.results.devices import DeviceFacts
from harness.results.energy import EnergyPart, ServerEnergy
from harness.results.outages import Failed, Outage
from harness.results.parts import DetectorPart, KeptWarm, Part
from harness.results.summary import Summary
from harness.results.switches import Phase, Phases, ServerShare, Switch
from harness.results.totals import Totals, ViolationCauses
from harness.results.windows_file import COLUMNS

DOC = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return DOC.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(title: str, heading: str) -> list[list[str]]:
    """The rows of the table whose first heading is given."""
    lines = section(title).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_layout_of_a_row() -> None:
    documented = [(row[0].strip("`"), row[1].strip("`")) for row in table("requests.npy", "field")]
    actual = [(name, RECORD[name].str.lstrip("|")) for name in RECORD.names or ()]
    assert documented == actual
    assert all(row[2] for row in table("requests.npy", "field"))
    assert f"one row of {RECORD.itemsize} bytes" in section("requests.npy")


@pytest.mark.parametrize(("column", "codes"), [(0, Outcome), (1, Decision), (2, Reason), (3, Flag)])
def test_codes(column: int, codes: type[IntEnum]) -> None:
    cells = [row[column] for row in table("requests.npy", "outcome") if row[column]]
    found = [tuple(cell.split(":")[0].split()) for cell in cells]
    assert found == [(str(code.value), code.name) for code in codes]


def test_windows() -> None:
    assert [row[0].strip("`") for row in table("windows.csv", "column")] == list(COLUMNS)


def test_every_key_of_the_summary() -> None:
    keys = {field.alias or name for name, field in Summary.model_fields.items()}
    first = "".join(row[0] for row in table("summary.json", "key"))
    assert {re.sub(r"\[\]|\{.*\}", "", key) for key in re.findall(r"`([^`]+)`", first)} == keys


@pytest.mark.parametrize("model", [Totals, ViolationCauses])
def test_totals(model: type[Totals] | type[ViolationCauses]) -> None:
    assert all(f"`{name}`" in section("summary.json") for name in model.model_fields)


@pytest.mark.parametrize(
    "model",
    [
        *(Switch, Phases, Phase, ServerShare, Outage, Failed, DetectorPart, KeptWarm),
        *(DeviceFacts, EnergyPart, ServerEnergy, CostPart),
    ],
)
def test_keys_of_parts(model: type[Part]) -> None:
    keys = {field.alias or name for name, field in model.model_fields.items()}
    named = re.findall(r"`(\w+)(?:\[\]|\{url\})?`", section("summary.json"))
    assert keys <= set(named)


def test_facts_of_servers_and_host() -> None:
    named = set(re.findall(r"`(\w+)(?:\[\])?`", section("summary.json")))
    server = ServerFacts("gpu1:8001", ()).known()
    assert server.keys() <= named
    assert host_facts().keys() <= named


def test_events() -> None:
    """Every kind that the source names is documented, and no other."""
    load = Path(harness.__file__).parent / "load"
    source = "".join(path.read_text(encoding="utf-8") for path in load.glob("*.py"))
    kinds = re.findall(r'"event": "(\w+)"|_tell\(\s*"(\w+)"|_event\("(\w+)"', source)
    used = {kind for found in kinds for kind in found if kind}
    rows = table("events.jsonl", "event")
    documented = {row[0].strip("`") for row in rows}
    assert used <= documented
    assert all(f'"{kind}"' in source for kind in documented - {"worker_died", "worker_hung"})
    assert all(row[1] for row in rows)
    measured = {one.name for one in fields(measured_switch.Switch)}
    (switch,) = (row[2] for row in rows if row[0] == "`switch`")
    assert set(re.findall(r"`(\w+)(?:\[\])?`", switch)) == measured | {"from", "to"}


def test_reasons_and_findings() -> None:
    modules = (validity, server_findings, switch_findings)
    source = "".join(Path(one.__file__).read_text(encoding="utf-8") for one in modules)
    used = set(re.findall(r'code="(\w+)"', source))
    rows = table("Validity", "code") + table("Validity", "finding")
    assert {row[0].strip("`") for row in rows} == used


def test_every_file_is_named() -> None:
    assert all(f"\n## {name}\n" in DOC for name in results.OURS if name != "report.html")
