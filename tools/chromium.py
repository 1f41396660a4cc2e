"""Finds the distribution's Chromium and its driver for browser tests; ``--install`` installs them.

Standard library only. Run as ``python -m tools.chromium`` from the repository's root.
"""

import argparse
import shutil
import sys
from dataclasses import dataclass

from tools import nghttp2

BROWSERS = ("chromium", "chromium-browser")
DRIVER = "chromedriver"

PACKAGES = {
    "apt-get": "--no-install-recommends chromium chromium-driver fonts-dejavu-core",
    "dnf": "chromium chromedriver dejavu-sans-fonts",
}

MESSAGE = """\
Chromium or its driver is missing. Install both from the distribution:
  Debian:        apt-get install chromium chromium-driver
  Fedora, RHEL:  dnf install chromium chromedriver
  Arch:          pacman -S chromium
  Alpine:        apk add chromium chromium-chromedriver"""


class Missing(Exception):
    """There is no browser to test with; the message says what to install."""


@dataclass(frozen=True)
class Chromium:
    """Paths of the programs."""

    browser: str
    driver: str


def find() -> Chromium:
    """On the PATH; raises Missing."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    driver = shutil.which(DRIVER)
    if browser is None or driver is None:
        raise Missing(MESSAGE)
    return Chromium(browser, driver)


def main() -> int:
    """Say where they are; 1 with what to install if one is missing."""
    parser = argparse.ArgumentParser(description="Find Chromium for browser tests.")
    parser.add_argument("--install", action="store_true", help="install what is missing")
    arguments = parser.parse_args()
    try:
        try:
            found = find()
        except Missing:
            if not arguments.install or not nghttp2.install(PACKAGES):
                raise
            found = find()
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    print(f"chromium: {found.browser} {found.driver}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
