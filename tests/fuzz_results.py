"""Damages stored runs in every way it knows and reads them back.

``python -m tests.fuzz_results --count 10000 --seed 1``: each is refused with one line, or loaded;
no other exception, nothing unprintable, no memory or time to speak of. Exit code 1 otherwise.
"""

import argparse
import copy
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.compare.comparison import compare
from harness.compare.groups import load_groups
from harness.compare.text import comparison_json, comparison_markdown, comparison_text
from harness.errors import UsageError
from harness.export.formats import write_csv, write_jsonl, write_parquet
from harness.export.requests import requests_table
from harness.export.windows import windows_table
from harness.load.event_text import event_text
from harness.records import RECORD
from harness.report.comparison_page import comparison_page
from harness.report.report import report_page
from harness.results.closing import closing_text
from harness.results.stored import StoredRun, load_run
from tests.results.stored_cases import CASES, stored

FILES = ("summary.json", "windows.csv", "events.jsonl", "requests.npy")
MAX_LINE_CHARS = 400
MEMORY_BYTES = 1 << 30  # of address space, beyond what the process has at first
GROWTH_BYTES = 192 << 20  # of resident memory, in any one case
DEADLINE_S = 20
MAX_PAGE_BYTES = 8 << 20

PLACE = "a place for a token that json.dumps has not"
TOKENS = (
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "1e-320", "-0", "-0.0"),
    *("9" * 400, "9" * 5000, "1" * 1_000_000, str(2**60), str(-(2**60)), str(2**62), str(2**63)),
    *(str(2**64), str(2**31), str(2**53 + 1), "0", "1", "-1", "0.5", "null", "true", '""'),
    *('"x"', '"\\ud800"', '"\\u0000"', '"\\u001b[2J\\u202e</script>"', '"=1+1"', "[]", "{}"),
    *("[" * 1000 + "]" * 1000, "[" * 100 + "]" * 100, '{"a":' * 300 + "1" + "}" * 300),
    *("[0" + ",0" * 10_000 + "]", "[{}" + ",{}" * 10_000 + "]", '"' + "x" * 1_000_000 + '"'),
    *("[null]", '{"a": 1}', '"' + "\\u202e" * 100 + '"', "1e5", "-5"),
)
CELLS = (
    *(
        "",
        "-1",
        "1e9",
        "nan",
        "x",
        '"',
        '""',
        "\x00",
        "\ufeff1",
        " 1",
        "1 ",
        "+1",
        "\uff11\uff12",
        "0x1",
    ),
    *(str(2**60), str(2**64), "9" * 5000, "=1+1", "a\nb", "\r", "\t", "\ud800", "gpu1:8001"),
    *("50000000", "49999999", "99999999950000000", "x" * 200_000),
)


class Damage:
    """What one random number does to one file of a results directory."""

    def __init__(self, seed: int, runs: list[Path]) -> None:
        self.random = random.Random(seed)
        self.runs = runs

    def do(self, directory: Path) -> str:
        """Damage one file; what was done."""
        there = [name for name in FILES if (directory / name).exists()]
        path = directory / self.random.choice(there)
        ways: list[Callable[[Path], None]] = [
            *(self.truncate, self.overwrite, self.flip, self.cut_out, self.insert, self.repeat),
            *(self.lines, self.foreign, self.special),
        ]
        inside: dict[str, Callable[[Path], None]] = {
            "summary.json": self.summary,
            "windows.csv": self.windows,
            "events.jsonl": self.events,
            "requests.npy": self.requests,
        }
        ways += [inside[path.name]] * len(ways)
        way = self.random.choice(ways)
        way(path)
        return f"{path.name}: {way.__name__}"

    def span(self, content: bytes) -> tuple[int, int]:
        """Where a random part of some content lies, short ones more often than long ones."""
        first = self.random.randrange(len(content) + 1)
        return first, min(len(content), first + int(2 ** self.random.uniform(0, 14)))

    def truncate(self, path: Path) -> None:
        content = path.read_bytes()
        ends = [0, 1, len(content) - 1, self.random.randrange(len(content) + 1)]
        mark = self.random.choice([b"\n", b",", b'"', b":", b"{", b"}", b"]", b"(", b"'"])
        if places := [i for i, byte in enumerate(content[:100_000]) if byte == mark[0]]:
            ends.append(self.random.choice(places) + self.random.randrange(2))
        path.write_bytes(content[: max(0, self.random.choice(ends))])

    def overwrite(self, path: Path) -> None:
        content = path.read_bytes()
        first, end = self.span(content)
        size = end - first
        new = self.random.choice([b"\0" * size, b"\xff" * size, self.random.randbytes(size)])
        path.write_bytes(content[:first] + new + content[end:])

    def flip(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        for _ in range(self.random.choice([1, 1, 2, 10])):
            if content:
                content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        path.write_bytes(content)

    def cut_out(self, path: Path) -> None:
        content = path.read_bytes()
        first, end = self.span(content)
        path.write_bytes(content[:first] + content[end:])

    def repeat(self, path: Path) -> None:
        content = path.read_bytes()
        first, end = self.span(content)
        times = self.random.choice([2, 3, 100])
        path.write_bytes(content[:first] + content[first:end] * times + content[end:])

    def insert(self, path: Path) -> None:
        content = path.read_bytes()
        first, _ = self.span(content)
        new = self.random.choice(
            [
                b"\0",
                b"\xed\xa0\x80",
                b"\xef\xbb\xbf",
                b"\x1b[2J",
                b"\n",
                b"x" * 2_000_000,
                b"[" * 500,
            ]
        )
        path.write_bytes(content[:first] + new + content[first:])

    def lines(self, path: Path) -> None:
        """Lines left out, repeated, in another order."""
        lines = path.read_bytes().splitlines(keepends=True)
        if not lines:
            return
        first, second = (self.random.randrange(len(lines)) for _ in range(2))
        how = self.random.randrange(4)
        if how == 0:
            del lines[first]
        elif how == 1:
            lines.insert(first, lines[second])
        elif how == 2:
            lines[first], lines[second] = lines[second], lines[first]
        else:
            lines *= 2
        path.write_bytes(b"".join(lines))

    def foreign(self, path: Path) -> None:
        """Another run's, another one of its own, or nothing of ours."""
        other = self.random.choice(self.runs)
        same, any_of = other / path.name, other / self.random.choice(FILES)
        choices = [b"", b"\n", b"hello\n", b"PK\x03\x04" + bytes(100), b"\x1f\x8b" + bytes(50)]
        choices += [one.read_bytes() for one in (same, same, any_of) if one.exists()]
        path.write_bytes(self.random.choice(choices))

    def special(self, path: Path) -> None:
        """No regular file, or one of enormous size."""
        path.unlink()
        how = self.random.randrange(7)
        if how == 0:
            path.mkdir()
        elif how == 1:
            os.mkfifo(path)
        elif how in (2, 3):
            path.symlink_to("/dev/zero" if how == 2 else "nowhere")
        elif how == 4:
            path.symlink_to(path.name)  # to itself
        elif how == 5:
            with path.open("wb") as file:
                file.truncate(2**42)

    def token(self) -> str:
        return self.random.choice(TOKENS)

    def summary(self, path: Path) -> None:
        content = json.loads(path.read_bytes())
        path.write_bytes(self.json(content))

    def events(self, path: Path) -> None:
        lines = path.read_bytes().splitlines()
        place = self.random.randrange(len(lines))
        lines[place] = self.json(json.loads(lines[place])).replace(b"\n", b" ")
        path.write_bytes(b"\n".join(lines) + b"\n")

    def json(self, content: Any) -> bytes:
        """One place of it changed, or a few."""
        raw: list[str] = []
        for _ in range(self.random.choice([1, 1, 1, 2, 5])):
            inner, key = self.random.choice(list(_places(content)) or [(None, None)])
            if inner is None:
                continue
            how = self.random.randrange(6)
            if how == 0:
                del inner[key]
            elif how == 1 and isinstance(inner, dict):
                inner[f"{PLACE}2"] = inner.pop(key)
            elif how == 2:
                values = [one[one_key] for one, one_key in _places(content)]
                inner[key] = copy.deepcopy(self.random.choice(values))
            elif how == 3 and isinstance(inner, dict):
                # The same key twice.
                inner[f"{key}{PLACE}1"] = None
            else:
                inner[key] = f"{PLACE}0"
                raw.append(self.token())
        text = json.dumps(content, indent=1)
        text = text.replace(f'{PLACE}1": null', f'": {self.token()}').replace(f"{PLACE}2", "other")
        for token in raw:
            text = text.replace(f'"{PLACE}0"', token, 1)
        return text.encode("utf-8", "surrogatepass")

    def windows(self, path: Path) -> None:
        lines = path.read_text().split("\n")
        for _ in range(self.random.choice([1, 1, 3])):
            place = self.random.randrange(len(lines))
            cells = lines[place].split(",")
            cells[self.random.randrange(len(cells))] = self.random.choice(CELLS)
            if self.random.random() < 0.1:
                cells.append("1")
            lines[place] = ",".join(cells)
        path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))

    def requests(self, path: Path) -> None:
        content = path.read_bytes()
        offset = 10 + int.from_bytes(content[8:10], "little")
        header, data = content[:offset], content[offset:]
        rows = np.frombuffer(data, RECORD).copy()
        if not len(rows) or self.random.random() < 0.4:
            olds = [b"<i8", b"|u1", b"False", b"slot", b"'shape': (", b"\x01\x00", b"NUMPY", b",)"]
            olds += [b"(%d,)" % len(rows)] * 4
            news = [b"(%d,)" % 2**60, b"(-1,)", b"()", b"(2, 2)", b"|O", b"True", b"\x02\x00", b"("]
            news += [
                b"(%d,)" % (len(rows) + 1),
                b"9" * 5000,
                b"(" * 300,
                b"-" * 9000,
                b"__import__",
            ]
            header = header.replace(self.random.choice(olds), self.random.choice(news), 1)
        else:
            for _ in range(self.random.choice([1, 1, 5])):
                name = self.random.choice(RECORD.names or ())
                most = 2 ** (8 * RECORD[name].itemsize - RECORD[name].str.count("i"))
                place = self.random.randrange(len(rows))
                rows[name][place] = self.random.choice(
                    [
                        0,
                        1,
                        7,
                        most - 1,
                        most // 2,
                        min(most - 1, 2**60),
                        self.random.randrange(most),
                    ]
                )
        path.write_bytes(header + rows.tobytes())


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every key of every object and list in some JSON."""
    if isinstance(content, dict | list):
        for key in list(content if isinstance(content, dict) else range(len(content))):
            yield content, key
            yield from _places(content[key])


def use(directory: Path, beside: Path, parquet: bool) -> StoredRun:
    """Everything that is made of stored runs. Raises UsageError, or AssertionError."""
    run = load_run(directory)
    printable(closing_text(run.summary, str(directory)))
    for event in run.events or ():
        printable(event_text(event, run.urls) or "")
    for make in (requests_table, windows_table):
        try:
            table = make(run)
        except UsageError:
            # A run may have none, but not damaged ones.
            assert (run.rows if make is requests_table else run.windows) is None
            continue
        out = io.BytesIO()
        write_csv(table, out.write)
        printable(out.getvalue().decode())
        write_jsonl(table, lambda data: [json.loads(line) for line in data.splitlines()])
        if parquet:
            write_parquet(table, io.BytesIO())
    comparison = compare(load_groups([beside, directory]))
    for text in (comparison_text, comparison_markdown, comparison_json):
        printable(text(comparison))
    for page in (report_page(run), comparison_page(comparison)):
        assert len(page) < MAX_PAGE_BYTES, f"a page of {len(page)} bytes"
    return run


def printable(text: str) -> None:
    """Raises AssertionError for what could move a cursor or hide text."""
    for char in set(text) - {"\n"}:
        assert not unicodedata.category(char).startswith("C"), (
            f"U+{ord(char):04X} in {text[:200]!r}"
        )


def check_line(text: str) -> None:
    """Raises AssertionError if a message is not one short line."""
    assert "\n" not in text
    assert len(text) <= MAX_LINE_CHARS, f"{len(text)} characters"
    printable(text)


def memory_bytes(what: str) -> int:
    """``VmRSS``: resident now; ``VmHWM``: at most since ``forget_peak``."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _too_long(*_: object) -> None:
    raise TimeoutError(f"over {DEADLINE_S} s")


class Fuzz:
    """Damages one run after another in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = [stored(folder / f"run{n}", case) for n, case in enumerate(CASES)]
        self.found: Counter[str] = Counter()
        self.growth_bytes = 0
        self.took_s = 0.0

    def one(self, seed: int) -> str | None:
        """What is wrong with how that damage is met, or None."""
        chosen = random.Random(f"run {seed}")
        run = chosen.choice(self.runs)
        directory = self.folder / "damaged"
        shutil.copytree(run, directory)
        did = f"seed {seed}, {run.name}, {Damage(seed, self.runs).do(directory)}"
        forget_peak()
        began_s, before = time.monotonic(), memory_bytes("VmRSS")
        wrong = None
        signal.alarm(DEADLINE_S)
        try:
            loaded = use(directory, self.runs[0], parquet=seed % 10 == 0)
            self.found["loaded with a mark" if loaded.missing else "loaded"] += 1
        except UsageError as error:
            self.found["refused"] += 1
            try:
                check_line(str(error))
            except AssertionError as wrong_line:
                wrong = f"{did}: {wrong_line}: {str(error)[:500]!r}"
        except Exception:
            wrong = f"{did}:\n{traceback.format_exc(limit=-6)}"
        finally:
            signal.alarm(0)
        growth = memory_bytes("VmHWM") - before
        self.growth_bytes = max(self.growth_bytes, growth)
        self.took_s = max(self.took_s, time.monotonic() - began_s)
        if wrong is None and growth > GROWTH_BYTES:
            wrong = f"{did}: took {growth >> 20} MiB"
        shutil.rmtree(directory)
        return wrong


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_results")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder))
        for place, run in enumerate(fuzz.runs):
            use(run, fuzz.runs[place - 1], parquet=True)
        used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most_bytes = used_bytes + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
        for seed in range(asked.seed, asked.seed + asked.count):
            if (wrong := fuzz.one(seed)) is not None:
                failures += 1
                print(wrong, file=sys.stderr)
    found = ", ".join(f"{count} {what}" for what, count in sorted(fuzz.found.items()))
    print(
        f"{asked.count} damaged runs: {found}, {failures} wrong; at most"
        f" {fuzz.growth_bytes >> 20} MiB and {fuzz.took_s:.2f} s each"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
