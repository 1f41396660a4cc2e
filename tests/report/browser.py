"""A headless Chromium without a network, and what it saw of a page."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tools.chromium import find

DEADLINE_S = 20.0
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"),
    # Nothing has a name or an address but this machine itself.
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9"),
)


class Browser:
    """``profile``: a new, empty directory for its own files."""

    def __init__(self, profile: Path) -> None:
        found = find()
        options = Options()
        options.binary_location = found.browser
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, Service(found.driver))
        self.driver.set_page_load_timeout(DEADLINE_S)
        self.driver.set_script_timeout(DEADLINE_S)

    def close(self) -> None:
        self.driver.quit()

    def screen(self, width: int, height: int = 900, dark: bool = False) -> None:
        """The size of the window, and what its user prefers."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = "dark" if dark else "light"
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )

    def open(self, page: Path) -> None:
        """Load it from its file and wait until the charts are drawn."""
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(page.absolute().as_uri())
        self.wait("document.documentElement.dataset.drawn !== undefined")

    def run(self, script: str, *arguments: Any) -> Any:
        """What the script returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: str) -> None:
        """Until it is true; fails after a deadline."""
        end_s = time.monotonic() + DEADLINE_S
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end_s, (condition, self.console())
            time.sleep(0.01)

    def console(self) -> list[str]:
        """What the page's console has said since it was opened, or asked last."""
        return [one["message"] for one in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Every address asked for since the page was opened, or asked last."""
        messages = [json.loads(one["message"]) for one in self.driver.get_log("performance")]
        sent = [one["message"] for one in messages]
        return [
            one["params"]["request"]["url"]
            for one in sent
            if one["method"] == "Network.requestWillBeSent"
        ]

    def send(self, command: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def mouse(self, kind: str, x: float, y: float, **parameters: Any) -> None:
        """An event at a place in the window."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **parameters)

    def picture(self, path: Path) -> None:
        """The whole page."""
        size = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        taken = self.send(
            "Page.captureScreenshot",
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1},
        )
        path.write_bytes(base64.b64decode(taken["data"]))


def settled(browser: Browser, script: str, agree: Callable[[Any], bool]) -> Any:
    """What the script returns once it agrees."""
    end_s = time.monotonic() + DEADLINE_S
    while True:
        found = browser.run(script)
        if agree(found):
            return found
        assert time.monotonic() < end_s, found
        time.sleep(0.02)
