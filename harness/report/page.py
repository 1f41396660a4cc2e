"""The shell of a page: one file that needs nothing else, under a strict policy."""

import base64
import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ResultsError
from harness.report.chart import Chart
from harness.report.plotly_bundle import MISSING, plotly_js, style_ids
from harness.results.directory import write_private
from harness.untrusted import clean_text

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_TEXT_CHARS = 4000
EMPTY = ""
"""plotly.js makes style elements that are empty at first; their hash lets it."""


def render(template: str, charts: Mapping[str, Chart], **values: Any) -> bytes:
    """The page of one template. Raises ResultsError where a package is missing.

    ``charts`` by id: the template has a place for each. Text in ``values`` is escaped, and cleaned
    of what could move or hide other text.
    """
    markup = _markup()
    style, drawing, plotly = _asset("page.css"), _asset("charts.js"), plotly_js()
    data = {"charts": {name: _chart_data(chart) for name, chart in charts.items()}}
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(plotly)} {_hash(drawing)}",
            f"style-src {_hash(style)} {_hash(EMPTY)}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    page = (
        _environment()
        .get_template(template)
        .render(
            charts=charts,
            policy=policy,
            style=markup(style),
            plotly=markup(plotly),
            plotly_styles=style_ids(plotly),
            drawing=markup(drawing),
            data=markup(json_in_html(data)),
            **values,
        )
    )
    return page.encode("utf-8", "replace")


def write_page(path: Path, content: bytes) -> None:
    """Put the page in place of what was there: mode 0600, all or nothing. Raises ResultsError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shown = clean_text(str(path))
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(path.stat().st_mode):
                raise ResultsError(f"cannot write '{shown}': it is no regular file")
        temporary.unlink(missing_ok=True)  # a killed process of this number left it
        write_private(temporary, lambda out: out.writelines([content]))
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ResultsError(f"cannot write '{shown}': {error.strerror}; make room") from None


def json_in_html(data: Any) -> str:
    """JSON that stays data inside a script element. Raises ValueError for a NaN."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def shown(value: object) -> object:
    """What a template prints of a value: text without control and format characters."""
    if hasattr(value, "__html__") or not isinstance(value, str):
        return value
    return clean_text(value, MAX_TEXT_CHARS)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _markup() -> Any:
    try:
        import jinja2  # noqa: F401
        from markupsafe import Markup
    except ImportError:
        raise ResultsError(MISSING.replace("plotly", "jinja2")) from None
    return Markup


def _chart_data(chart: Chart) -> dict[str, Any]:
    return asdict(chart, dict_factory=lambda pairs: {key: shown(value) for key, value in pairs})


def _asset(name: str) -> str:
    return (resources.files("harness.report") / "assets" / name).read_text("utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
