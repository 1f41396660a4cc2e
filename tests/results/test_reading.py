"""Files that are no files, and JSON that is out of all bounds, without waiting and without end."""

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.results.reading import MAX_VALUES, is_there, open_stored, read_json


def test_a_file_and_a_link_to_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_stored(tmp_path / name) as found:
            assert found.read() == b"x"


@pytest.mark.parametrize("kind", ["pipe", "directory", "zero", "full", "socket", "loop", "absent"])
def test_what_is_no_file_is_not_waited_on(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "one"
    unix = socket.socket(socket.AF_UNIX)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind in ("zero", "full"):
        path.symlink_to(f"/dev/{kind}")
    elif kind == "socket":
        unix.bind(str(path))
    elif kind == "loop":
        path.symlink_to("one")
    with unix, pytest.raises(OSError, match=r".") as caught:
        open_stored(path)
    assert caught.value.strerror
    assert is_there(path) == (kind != "absent")


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert is_there(tmp_path / "file")
    assert not is_there(tmp_path / "link")
    assert not is_there(tmp_path / "file" / "under")
    assert is_there(tmp_path / ("x" * 300))  # what cannot be looked at is opened, which says why


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_is_read_as_it_was(content: object) -> None:
    assert read_json(json.dumps(content).encode()) == content


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "[1e999]", "9" * 5000),
        *("9" * 1_000_000, "1" + "0" * 301, "-1" + "0" * 301, '"\\ud800"', '"\x00"', "[" * 100_000),
        *("[" * 250 + "]" * 250, '{"a":' * 5000, "\ufeff1", "1 2", "01", "'a'", "[1,]"),
        "[" + "," * MAX_VALUES + "]",
        "{" + ",".join(f'"{n}":0' for n in range(5000)) + "}",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_json_of_ours(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(text.encode())


def test_bytes_that_are_no_text() -> None:
    for data in (b"\xff\xfe", b'"\xed\xa0\x80"', b"\x1f\x8b\x08"):
        with pytest.raises(ValueError, match=r"."):
            read_json(data)
