"""Exported tables: every format says the same, and what requests.npy and windows.csv say."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from harness.errors import UsageError
from harness.export.formats import check_parquet, write_csv, write_jsonl, write_parquet
from harness.export.requests import CODES, SPANS, TIMES, requests_table
from harness.export.table import Table
from harness.export.windows import windows_table
from harness.records import ABSENT_NS, NO_SERVER, Flag, Reason
from harness.results.stored import StoredRun, load_run
from harness.results.windows_file import COLUMNS
from tests.results.stored_cases import CASES, stored
from tests.stored_runs import store
from tests.synthetic import synthetic_run

DOC = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
BOOLS = tuple(flag.name.lower() for flag in Flag)


@pytest.fixture(params=[1, 7, 1 << 14])
def chunk_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Parts of any length."""
    rows: int = request.param
    monkeypatch.setattr("harness.export.requests.CHUNK_ROWS", rows)
    monkeypatch.setattr("harness.export.windows.CHUNK_ROWS", rows)
    return rows


def as_csv(table: Table) -> list[dict[str, str]]:
    out = io.BytesIO()
    write_csv(table, out.write)
    return list(csv.DictReader(io.StringIO(out.getvalue().decode(), newline=""), strict=True))


def as_jsonl(table: Table) -> list[dict[str, Any]]:
    out = io.BytesIO()
    write_jsonl(table, out.write)
    return [json.loads(line) for line in out.getvalue().decode().splitlines()]


def as_parquet(table: Table) -> list[dict[str, Any]]:
    out = io.BytesIO()
    write_parquet(table, out)
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(io.BytesIO(out.getvalue())).to_pylist()
    return found


def cell(value: Any) -> str:
    """As CSV spells it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def expected(run: StoredRun) -> list[dict[str, Any]]:
    """Row by row, from the records."""
    rows = []
    assert run.rows is not None
    for row in run.rows:
        times = {name: None if row[name] == ABSENT_NS else int(row[name]) for name in TIMES}
        spans = {
            name: None if None in (times[start], times[end]) else times[end] - times[start]  # type: ignore[operator]
            for name, (start, end) in SPANS.items()
        }
        words = {name: code(row[name]).name.lower() for name, code in CODES.items()}
        rows.append(
            {
                "slot": int(row["slot"]),
                **times,
                **spans,
                "server": None if row["server"] == NO_SERVER else run.urls[row["server"]],
                **words,
                "reason": None if row["reason"] == Reason.NONE else words["reason"],
                **{
                    name: int(row[name]) for name in ("epoch", "worker", "status", "response_bytes")
                },
                **{flag.name.lower(): bool(row["flags"] & flag) for flag in Flag},
            }
        )
    return rows


@pytest.mark.usefixtures("chunk_rows")
@pytest.mark.parametrize("case", [case for case in CASES if case != "no records"])
def test_requests_say_what_the_records_say(tmp_path: Path, case: str) -> None:
    run = load_run(stored(tmp_path / "out", case, rate=40.0))
    table, rows = requests_table(run), expected(run)
    assert as_jsonl(table) == rows
    assert as_parquet(table) == rows
    assert as_csv(table) == [{key: cell(one) for key, one in row.items()} for row in rows]


@pytest.mark.usefixtures("chunk_rows")
@pytest.mark.parametrize("case", CASES)
def test_windows_say_what_the_file_says(tmp_path: Path, case: str) -> None:
    directory = stored(tmp_path / "out", case)
    table = windows_table(load_run(directory))
    with (directory / "windows.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert as_csv(table) == rows
    assert [{key: cell(one) for key, one in row.items()} for row in as_jsonl(table)] == rows
    assert as_parquet(table) == as_jsonl(table)


def test_types_in_parquet(tmp_path: Path) -> None:
    out = io.BytesIO()
    write_parquet(requests_table(load_run(stored(tmp_path / "out"))), out)
    schema = pyarrow.parquet.read_table(io.BytesIO(out.getvalue())).schema
    assert all(str(schema.field(name).type) == "int64" for name in ("slot", *TIMES, *SPANS))
    assert all(str(schema.field(name).type) == "bool" for name in BOOLS)
    assert "string" in str(schema.field("outcome").type)


@pytest.mark.parametrize("case", ["no slot", "two"])
def test_runs_of_few_slots(tmp_path: Path, case: str) -> None:
    changes = {"cut_ns": 0} if case == "no slot" else {"rate": 2.0, "dist": "constant"}
    run = load_run(stored(tmp_path / "out", **changes))
    assert run.rows is not None
    assert len(run.rows) == (0 if case == "no slot" else 2)
    table = requests_table(run)
    assert as_jsonl(table) == as_parquet(table) == expected(run)
    assert len(as_csv(table)) == len(run.rows)


HOSTILE = "=cmd|'/c calc'!A0\x1b[2J\u202e</script>\r\n"


def test_names_are_text_and_no_formula(tmp_path: Path) -> None:
    run = synthetic_run()
    run.servers[0]["url"] = HOSTILE
    stored_run = load_run(store(tmp_path / "out", run))
    for table in (requests_table(stored_run), windows_table(stored_run)):
        assert {row["server"] for row in as_csv(table)} == {"'=cmd|'/c calc'!A0[2J</script>"}
        for rows in (as_jsonl(table), as_parquet(table)):
            assert {row["server"] for row in rows} == {"=cmd|'/c calc'!A0[2J</script>"}
    lines = (tmp_path / "out" / "windows.csv").read_text().splitlines()
    assert {line.split(",")[1] for line in lines[1:]} == {"'=cmd|'/c calc'!A0[2J</script>"}


def test_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    directory = stored(tmp_path / "out")
    rows = np.load(directory / "requests.npy")
    rows["t_taken_ns"][3] = rows["t_sched_ns"][3] - 5
    np.save(directory / "requests.npy", rows)
    table = requests_table(load_run(directory))
    assert as_csv(table)[3]["lateness_ns"] == "-5"
    assert as_jsonl(table)[3]["lateness_ns"] == -5


def test_what_was_not_kept_is_told(tmp_path: Path) -> None:
    run = load_run(stored(tmp_path / "out", "no records"))
    with pytest.raises(UsageError, match=r"has no requests\.npy to export; give --what windows"):
        requests_table(run)
    (tmp_path / "out" / "windows.csv").unlink()
    with pytest.raises(UsageError, match=r"has no windows\.csv to export"):
        windows_table(load_run(tmp_path / "out"))


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match=r"pip install 'triton-harness\[parquet\]'"):
        check_parquet()


def test_the_page_names_every_column(tmp_path: Path) -> None:
    table = requests_table(load_run(stored(tmp_path / "out")))
    section = DOC.split("\n## Requests\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [c.name for c in table.columns]
    for code in CODES.values():
        for word in code:
            assert word == 0 or f"`{word.name.lower()}`" in section
    assert tuple(c.name for c in windows_table(load_run(tmp_path / "out")).columns) == COLUMNS
