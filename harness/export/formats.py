"""Tables as CSV, as JSON lines, as Parquet: part by part."""

import csv
import io
import json
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from harness.errors import UsageError
from harness.export.table import Cells, Column, Table
from harness.untrusted import clean_text, csv_cell

if TYPE_CHECKING:
    import pyarrow

Write = Callable[[bytes], object]

BOOLS = ("false", "true")


def write_csv(table: Table, write: Write) -> None:
    """UTF-8 with a line of names; no value is an empty cell, and no word a formula."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(column.name for column in table.columns)
    for part in table.parts():
        values = (
            cells.values(_words(column, cells, csv_cell), "")
            for column, cells in zip(table.columns, part, strict=True)
        )
        lines.writerows(zip(*values, strict=True))
        write(text.getvalue().encode())
        text.seek(0)
        text.truncate()


def write_jsonl(table: Table, write: Write) -> None:
    """An object a line; no value is ``null``."""
    names = (json.dumps(column.name) for column in table.columns)
    line = "{" + ", ".join(f"{name}: %s" for name in names) + "}\n"
    for part in table.parts():
        values = (
            cells.values(_words(column, cells, _json_text), "null")
            for column, cells in zip(table.columns, part, strict=True)
        )
        write("".join(map(line.__mod__, zip(*values, strict=True))).encode())


def _json_text(word: str) -> str:
    return json.dumps(clean_text(word, 1000), ensure_ascii=False)


def _words(column: Column, cells: Cells, spell: Callable[[str], str]) -> tuple[str, ...] | None:
    if cells.data.dtype == np.bool_:
        return BOOLS
    return None if column.words is None else tuple(spell(word) for word in column.words)


def check_parquet() -> None:
    """Raises UsageError where pyarrow is missing."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UsageError(
            "--format parquet needs pyarrow; install it with pip install 'triton-harness[parquet]'"
        ) from None


def write_parquet(table: Table, out: IO[bytes]) -> None:
    """Words are dictionary columns, no value is null; a row group a part. Raises UsageError."""
    check_parquet()
    import pyarrow
    import pyarrow.parquet

    writer = None
    try:
        for part in table.parts():
            arrays = {
                column.name: _array(column, cells)
                for column, cells in zip(table.columns, part, strict=True)
            }
            batch = pyarrow.table(arrays)
            if writer is None:
                writer = pyarrow.parquet.ParquetWriter(out, batch.schema)
            writer.write_table(batch)
    finally:
        if writer is not None:
            writer.close()


def _array(column: Column, cells: Cells) -> "pyarrow.Array":
    import pyarrow

    absent: Any = None if cells.there is None else ~cells.there
    data = np.ascontiguousarray(cells.data)
    if column.words is None:
        return pyarrow.array(data, mask=absent)
    words = pyarrow.array([clean_text(word, 1000) for word in column.words], pyarrow.string())
    places = pyarrow.array(data.astype(np.int16), mask=absent)
    return pyarrow.DictionaryArray.from_arrays(places, words)
