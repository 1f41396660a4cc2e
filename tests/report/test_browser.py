"""Pages as a browser shows them: drawn whole, without a network, and with names that stay names."""

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Bench, BenchConfig, Slo
from harness.compare.comparison import compare
from harness.compare.groups import Group
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.report.comparison_page import write_comparison_page
from harness.report.report import NAME, write_report
from harness.results.stored import StoredRun, load_run
from tests.report.browser import DEADLINE_S, Browser, settled
from tests.stored_runs import stored

NS_PER_S = 10**9
NS_PER_MS = 10**6
TIME_CHARTS = ("violations", "latency", "rates", "in-flight", "lateness")
CHARTS = (*TIME_CHARTS, "response", "service", "lateness-distribution")

PAYLOAD = (
    "</script><img src=x onerror=alert(1)>\"'`<b onmouseover=alert(2)>\u202eevil\u2066\x1b[31m\x00"
)
VISIBLE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    """A run whose first server hangs, so that its load goes to the second; with its report."""
    out = tmp_path_factory.mktemp("run") / "out"
    with EmbeddedServer(ServeConfig(script="2200ms: hang")) as first, EmbeddedServer() as second:
        result = Bench(
            BenchConfig(
                model="identity",
                urls=(first.url, second.url),
                dist="poisson",
                rate=400,
                duration_ns=4 * NS_PER_S,
                warmup_ns=0,
                spin="never",
                slo=Slo(threshold_ns=50 * NS_PER_MS, limit=0.05, text="50ms"),
                request_timeout_ns=NS_PER_S,
                out=str(out),
            )
        ).run()
    assert len(result.summary.switches) == 1
    assert result.report == out / NAME
    return load_run(out)


@pytest.fixture
def page(browser: Browser, switched: StoredRun) -> Iterator[Browser]:
    """Its report, opened at 1280 pixels in light."""
    browser.screen(1280)
    browser.open(switched.path / NAME)
    yield browser
    assert browser.console() == []


def drawn(browser: Browser) -> list[str]:
    """The charts in which plotly.js has drawn a trace."""
    found: list[str] = browser.run(
        "return Array.from(document.querySelectorAll('[data-chart]')).filter(one =>"
        " one.querySelector('.scatterlayer .js-line, .scatterlayer .point'))"
        ".map(one => one.dataset.chart)"
    )
    return found


def box(browser: Browser, selector: str) -> dict[str, float]:
    """Where it lies in the window."""
    found: dict[str, float] = browser.run(
        "const one = document.querySelector(arguments[0]);"
        "one.scrollIntoView({block: 'center'});"
        "const box = one.getBoundingClientRect();"
        "return {x: box.x, y: box.y, width: box.width, height: box.height}",
        selector,
    )
    return found


def test_everything_is_drawn_without_a_network(page: Browser, switched: StoredRun) -> None:
    assert page.requests() == [(switched.path / NAME).absolute().as_uri()]
    assert sorted(drawn(page)) == sorted(CHARTS)
    assert page.run("return document.scripts.length") == 3
    assert "VALID" in page.run("return document.querySelector('.verdict').innerText")
    assert page.run("return document.querySelectorAll('table').length") >= 8


def test_the_switch_is_marked_at_the_second_the_events_say(
    page: Browser, switched: StoredRun
) -> None:
    events = [json.loads(line) for line in (switched.path / "events.jsonl").open()]
    (t_s,) = (event["t_ns"] / NS_PER_S for event in events if event["event"] == "switch")
    for name in TIME_CHARTS:
        found = page.run(
            "const gd = document.getElementById('chart-' + arguments[0]);"
            "const place = gd._fullLayout.shapes.findIndex(one => one.name === 'switch');"
            "const shape = gd._fullLayout.shapes[place];"
            "const path = gd.querySelector(`.shapelayer path[data-index='${place}']`);"
            "const line = path.getBoundingClientRect();"
            "const axis = gd._fullLayout.xaxis;"
            "const plot = gd.querySelector('.main-svg').getBoundingClientRect();"
            "return {x: [shape.x0, shape.x1], drawn: line.x + line.width / 2,"
            " expected: plot.x + axis._offset + axis.d2p(arguments[1]), height: line.height,"
            " texts: gd.layout.annotations.map(one => one.text)}",
            name,
            t_s,
        )
        assert found["x"] == [t_s, t_s]
        assert found["drawn"] == pytest.approx(found["expected"], abs=1)
        assert found["height"] > 100
        assert "A → B" in found["texts"]


def told(browser: Browser, name: str, share: float, pattern: str) -> None:
    """Move the mouse down through a chart, at this share of its width, until it is told."""
    end_s = time.monotonic() + DEADLINE_S
    text = ""
    while time.monotonic() < end_s:
        plot = box(browser, f"#chart-{name} .nsewdrag")
        for step in range(10, 95, 3):
            y = plot["y"] + plot["height"] * step / 100
            browser.mouse("mouseMoved", plot["x"] + plot["width"] * share, y)
            layer = f"#chart-{name} .hoverlayer"
            text = browser.run("return document.querySelector(arguments[0]).textContent", layer)
            if re.search(pattern, text):
                return
    pytest.fail(f"only told: {text}")


def test_figures_are_told_where_the_mouse_is(page: Browser) -> None:
    told(page, "latency", 0.25, r"A 127\.0\.0\.1:\d+, p50 : [0-9.]+ ms")
    told(page, "response", 0.17, r"p[0-9.]+: [0-9.]+ ms")


def test_charts_over_time_are_zoomed_together(page: Browser) -> None:
    def ranges() -> list[list[float]]:
        found: list[list[float]] = page.run(
            "return arguments[0].map(name =>"
            " document.getElementById('chart-' + name).layout.xaxis.range)",
            list(TIME_CHARTS),
        )
        return found

    before = ranges()
    plot = box(page, "#chart-rates .nsewdrag")
    y = plot["y"] + plot["height"] / 2
    page.mouse("mouseMoved", plot["x"] + 0.4 * plot["width"], y)
    page.mouse("mousePressed", plot["x"] + 0.4 * plot["width"], y, button="left", clickCount=1)
    for share in (0.5, 0.6):
        page.mouse("mouseMoved", plot["x"] + share * plot["width"], y, button="left")
    page.mouse("mouseReleased", plot["x"] + 0.6 * plot["width"], y, button="left", clickCount=1)
    page.wait(
        "['violations', 'latency', 'rates', 'in-flight', 'lateness'].every(name =>"
        " document.getElementById('chart-' + name).layout.xaxis.range[0] > 1)"
    )
    zoomed = ranges()
    assert all(one == zoomed[0] for one in zoomed)
    assert zoomed[0] == pytest.approx([1.6, 2.4], abs=0.05)
    for _ in range(2):
        page.mouse("mousePressed", plot["x"] + 0.5 * plot["width"], y, button="left", clickCount=1)
        page.mouse("mouseReleased", plot["x"] + 0.5 * plot["width"], y, button="left", clickCount=1)
    page.wait("document.getElementById('chart-violations').layout.xaxis.range[0] < 1")
    assert ranges() == before


LUMINANCE = """
const parts = text => text.match(/[0-9.]+/g).slice(0, 3).map(one => {
  const part = one / 255;
  return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
});
const weights = [.2126, .7152, .0722];
const light = text => parts(text).reduce((sum, one, place) => sum + one * weights[place], 0);
const section = getComputedStyle(document.querySelector("section")).backgroundColor;
const tick = getComputedStyle(document.querySelector("#chart-rates .xtick text")).fill;
const line = getComputedStyle(document.querySelector("#chart-rates .js-line")).stroke;
const ink = getComputedStyle(document.querySelector("td")).color;
const ratio = (one, other) => {
  const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
return {
  back: light(section),
  tick: ratio(tick, section), line: ratio(line, section), ink: ratio(ink, section),
};
"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_readable_on_any_screen(
    browser: Browser, switched: StoredRun, width: int, dark: bool
) -> None:
    browser.screen(width, dark=dark)
    browser.open(switched.path / NAME)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    beyond = browser.run(
        "return Array.from(document.querySelectorAll('section, figure, .chart, .chart .main-svg'))"
        ".filter(one => one.getBoundingClientRect().right > innerWidth + 0.5).length"
    )
    assert beyond == 0
    found = browser.run(LUMINANCE)
    assert (found["back"] < 0.1) == dark
    assert found["ink"] > 7
    assert found["tick"] > 4.5
    assert found["line"] > 3
    assert browser.console() == []


def test_the_theme_changes_while_it_is_open(page: Browser) -> None:
    before = page.run(LUMINANCE)
    page.screen(1280, dark=True)
    after = settled(page, LUMINANCE, lambda found: found["back"] < 0.1 and found["tick"] > 4.5)
    assert before["back"] > 0.8 > after["back"]


FILL = "return getComputedStyle(document.querySelector('#chart-rates .xtick text')).fill"


def test_on_paper_it_is_light_and_whole(page: Browser) -> None:
    page.screen(1280, dark=True)
    page.run(
        "window.addEventListener('beforeprint', () => { window.onPaper = ["
        "getComputedStyle(document.querySelector('#chart-rates .xtick text')).fill,"
        "document.querySelectorAll('details:not([open])').length,"
        "document.querySelector('#chart-rates .main-svg').getBoundingClientRect().width]; })"
    )
    printed = base64.b64decode(page.send("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF")
    fill, closed, width = page.run("return window.onPaper")
    assert fill == "rgb(90, 100, 112)"
    assert closed == 0
    assert width <= 700
    assert page.run("return document.documentElement.classList.contains('paper')") is False
    assert page.run(FILL) != fill


def hostile_run(out: Path) -> StoredRun:
    """A stored run in which every text of the summary holds the payload."""
    stored(
        out,
        urls=(f"one{PAYLOAD}:8001", f"two{PAYLOAD}:8001"),
        config={"model": f"model{PAYLOAD}"},
        rate=400.0,
    )
    file = out / "summary.json"
    summary = json.loads(file.read_text())
    urls = {server["url"] for server in summary["servers"]}

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoil(one) for key, one in value.items()}
        if isinstance(value, list):
            return [spoil(one) for one in value]
        return value + PAYLOAD if isinstance(value, str) and value not in urls else value

    summary = spoil(summary)
    summary["findings"] = [{"code": "made_up", "text": f"finding{PAYLOAD}"}]
    summary["invalid_reasons"] = [{"code": "x", "text": f"why{PAYLOAD}", "advice": PAYLOAD}]
    summary["valid"] = False
    summary["config"]["labels"] = {f"key{PAYLOAD}": f"label{PAYLOAD}"}
    summary["host"][f"fact{PAYLOAD}"] = PAYLOAD
    file.write_text(json.dumps(summary))
    events = [{"t_ns": 5, "event": f"event{PAYLOAD}", f"key{PAYLOAD}": PAYLOAD}]
    (out / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    return load_run(out)


FOREIGN = """
const allowed = new Set(('HTML HEAD META TITLE LINK STYLE SCRIPT BODY MAIN HEADER SECTION FOOTER'
  + ' NOSCRIPT P H1 H2 H3 UL LI BR SPAN STRONG SMALL B I BDI DIV FIGURE FIGCAPTION TABLE CAPTION'
  + ' THEAD TBODY TR TH TD DETAILS SUMMARY DL DT DD ARTICLE A BUTTON CANVAS').split(' '));
const all = Array.from(document.querySelectorAll('*'));
const own = all.filter(one => one.namespaceURI === 'http://www.w3.org/1999/xhtml');
return {
  elements: own.map(one => one.tagName).filter(name => !allowed.has(name)),
  links: all.filter(one => one.hasAttribute('href') || one.hasAttribute('xlink:href'))
    .filter(one => one.tagName !== 'LINK').map(one => one.outerHTML),
  handlers: all.flatMap(one => Array.from(one.attributes))
    .filter(one => one.name.startsWith('on')).map(one => one.name),
  bold: all.filter(one => one.tagName === 'B' && one.textContent.length > 2).length,
  scripts: document.scripts.length,
  hidden: /[\\u202a-\\u202e\\u2066-\\u2069\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f]/.test(
    document.querySelector('main').textContent + document.title),
};
"""
NOTHING = {"elements": [], "links": [], "handlers": [], "bold": 0, "scripts": 3, "hidden": False}


def test_names_stay_names(browser: Browser, tmp_path: Path) -> None:
    path = write_report(hostile_run(tmp_path / "out"))
    browser.screen(1280)
    browser.open(path)
    assert sorted(drawn(browser)) == sorted(CHARTS)
    told(browser, "latency", 0.5, "A one</script><img src=x")
    assert browser.run(FOREIGN) == NOTHING
    text = browser.run("return document.querySelector('main').textContent")
    for word in ("model", "one", "finding", "why", "label", "event"):
        assert word + VISIBLE in text
    legend = browser.run("return document.querySelector('#chart-latency .legend').textContent")
    assert "A one</script><img" in legend
    assert browser.console() == []
    assert browser.requests() == [path.absolute().as_uri()]


def test_a_comparison(browser: Browser, tmp_path: Path) -> None:
    groups = [
        Group(
            f"group{place}{PAYLOAD}",
            tuple(
                load_run(
                    stored(
                        tmp_path / f"{place}-{number}",
                        median_ns=8 * (1 + place) * NS_PER_MS,
                        draw=10 * place + number,
                        duration_ns=NS_PER_S,
                    )
                )
                for number in range(5)
            ),
        )
        for place in range(2)
    ]
    path = tmp_path / "page.html"
    write_comparison_page(compare(groups), path)
    for width, dark in ((1280, False), (390, True)):
        browser.screen(width, dark=dark)
        browser.open(path)
        assert sorted(drawn(browser)) == ["response", "service"]
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.run(FOREIGN) == NOTHING
        assert browser.console() == []
        assert browser.requests() == [path.absolute().as_uri()]
    text = browser.run("return document.body.innerText")
    assert "WORSE" in text
    assert "group1" + VISIBLE in text
