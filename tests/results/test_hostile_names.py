"""Names of models and servers that hold markup, formulas, escapes: data wherever they are shown."""

import csv
import io
from pathlib import Path

import pytest

from harness.compare.comparison import compare
from harness.compare.groups import load_groups
from harness.compare.text import comparison_json, comparison_markdown, comparison_text
from harness.export.formats import write_csv
from harness.export.requests import requests_table
from harness.load.event_text import event_text
from harness.results.closing import closing_text
from harness.results.stored import load_run
from harness.untrusted import FORMULA_STARTS
from tests.fuzz_results import printable
from tests.results.stored_cases import CASES, stored
from tests.stored_runs import store
from tests.synthetic import synthetic_run

NAMES = (
    "</script><img src=x onerror=alert(1)>",
    "\x1b]0;title\x07\x1b[2J\x1b[31mred",
    "\u202egnp.exe\u202c\u2066\u200b",
    "=HYPERLINK(\"http://x\",'y')",
    "\t@SUM(1+1)*cmd|' /C calc'!A0",
    "a\r\nSet-Cookie: b\x00\x9b31m",
    "`'\"-1+1",
)


@pytest.fixture(params=NAMES, ids=range(len(NAMES)))
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name: str = request.param
    case = CASES["a switch"]
    run = synthetic_run(**{**case, "urls": (name, f"{name}:2")})
    run.config = run.config.model_copy(update={"model": name, "labels": {"gpu": name}})
    run.servers[0] |= {"name": name, "version": name, "devices": [{"name": name}]}
    run.host = {"cpu_model": name}
    run.events += [
        {"t_ns": 5, "event": "command", "command": name},
        {"t_ns": 5, "event": "command_ended", "command": name, "exit_code": None, "error": name},
        {"t_ns": 6, "event": "connection_lost", "server": 1, "worker": 0},
        {"t_ns": 7, "event": "failing", "server": 1, "rule": name, "n": 1, "x": 1, "bound": 1.0},
    ]
    return store(tmp_path / "out", run)


def test_nothing_moves_a_cursor_or_hides_text(directory: Path, tmp_path: Path) -> None:
    run = load_run(directory)
    printable(closing_text(run.summary, str(directory)))
    assert run.events
    for event in run.events:
        printable(event_text(event, run.urls) or "")
    comparison = compare(load_groups([stored(tmp_path / "beside"), directory]))
    for text in (comparison_text, comparison_markdown, comparison_json):
        printable(text(comparison))
    assert "<" not in comparison_markdown(comparison).replace("\\<", "")


def test_no_cell_is_a_formula(directory: Path) -> None:
    out = io.BytesIO()
    write_csv(requests_table(load_run(directory)), out.write)
    for content in (out.getvalue(), (directory / "windows.csv").read_bytes()):
        text = content.decode()
        printable(text)
        cells = {cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row}
        numbers = {cell for cell in cells if cell.lstrip("-").isdecimal()}
        assert not [cell for cell in cells - numbers if cell.startswith(FORMULA_STARTS)]
        assert len(cells - numbers) > 3
