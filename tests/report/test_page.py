"""The shell of a page: its policy, its escapes, and how it is put in place."""

import base64
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ResultsError
from harness.report import page as pages
from harness.report import plotly_bundle
from harness.report.page import json_in_html, shown, write_page
from harness.report.report import report_page
from harness.results.stored import load_run
from tests.stored_runs import stored


class Inlined(HTMLParser):
    """Scripts, styles and the policy of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.data: list[str] = []
        self.policy = ""
        self.into: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        self.into = None
        if tag == "script":
            self.into = self.data if given.get("type") == "application/json" else self.scripts
        elif tag == "style":
            self.into = self.styles
        if self.into is not None:
            self.into.append("")

    def handle_endtag(self, tag: str) -> None:
        self.into = None

    def handle_data(self, data: str) -> None:
        if self.into is not None:
            self.into[-1] += data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("run") / "out"
    return report_page(load_run(stored(out))).decode()


def hashed(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def test_the_policy_allows_what_is_inlined_and_nothing_else(report: str) -> None:
    found = Inlined(report)
    rules = dict(rule.split(" ", 1) for rule in found.policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["script-src"].split() == [hashed(one) for one in found.scripts]
    assert rules["style-src"].split() == [hashed(found.styles[0]), hashed("")]
    assert rules["img-src"] == "data: blob:"
    assert "unsafe" not in found.policy
    assert len(rules) == 6


def test_it_names_no_address_outside_plotly(report: str) -> None:
    own = report.replace(plotly_bundle.plotly_js(), "")
    assert len(own) < len(report)
    assert re.findall(r"https?:|//[a-z]", own) == []


def test_its_data_is_json(report: str) -> None:
    (data,) = Inlined(report).data
    charts = json.loads(data)["charts"]
    assert set(re.findall(r'data-chart="([a-z-]+)"', report)) == set(charts)


@given(
    st.recursive(
        st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_stays_data_in_html(value: object) -> None:
    text = json_in_html(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


def test_json_holds_no_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_in_html([float("nan")])


def test_text_is_shown_without_what_moves_or_hides() -> None:
    assert shown("a\u202eb\x00\x1b[0m\nc") == "ab[0m c"
    assert len(str(shown("x" * 10**6))) == pages.MAX_TEXT_CHARS
    assert shown(5) == 5


def test_a_page_is_private_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")
    (tmp_path / f".page.html.{os.getpid()}.tmp").write_text("left over")
    write_page(path, b"after")
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("name", ["/dev/full", "absent/page.html", "folder"])
def test_what_cannot_be_written_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResultsError) as caught:
        write_page(tmp_path / name, b"x")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5
    assert Path("/dev/full").is_char_device()


def test_a_full_disk_leaves_the_page_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match="No space left on device"):
        write_page(path, b"after")
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
def test_a_missing_package_is_named(tmp_path: Path, package: str) -> None:
    out = stored(tmp_path / "out")
    code = (
        f"import sys; sys.modules[{package!r}] = None; from harness.cli import main;"
        f"sys.argv = ['harness', 'report', {str(out)!r}]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 5
    assert done.stderr == (
        f"harness: charts need the package {package}; pip install 'triton-harness[report]'\n"
    )
    assert not (out / "report.html").exists()


def test_plotly_cannot_end_its_own_element() -> None:
    code = plotly_bundle.plotly_js()
    assert "</script" not in code.lower()
    assert "<!--" not in code
    assert "\r" not in code
