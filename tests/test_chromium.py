"""tools/chromium.py with made-up machines."""

import os
from pathlib import Path

import pytest

from tools import chromium, nghttp2


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["chromium.py", "--install"])
    return tmp_path


def program(path: Path, *lines: str) -> None:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def test_both_programs_are_needed(programs: Path) -> None:
    program(programs / "chromium-browser")
    with pytest.raises(chromium.Missing, match="apt-get install chromium chromium-driver"):
        chromium.find()
    program(programs / "chromedriver")
    found = chromium.find()
    assert found.browser == str(programs / "chromium-browser")
    assert found.driver == str(programs / "chromedriver")


def test_root_installs_what_is_missing(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program(
        programs / "apt-get",
        f'echo "$@" >> {programs}/said',
        f"for one in chromium chromedriver; do /bin/cp {programs}/apt-get {programs}/$one; done",
    )
    assert chromium.main() == 0
    said = (programs / "said").read_text().splitlines()
    assert said == ["update -q", f"install -y -q {chromium.PACKAGES['apt-get']}"]


def test_what_cannot_be_installed_is_told(
    programs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chromium.main() == 1
    assert capsys.readouterr().err == f"{chromium.MESSAGE}\n"


def test_what_is_there_is_not_installed(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("chromium", "chromedriver"):
        program(programs / name)
    monkeypatch.setattr(nghttp2, "install", lambda packages: pytest.fail("installed"))
    assert chromium.main() == 0
