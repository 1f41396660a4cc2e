"""Takes docs/report.png: the report of a fresh demonstration, as a browser shows it.

``python -m tools.report_picture [--all DIR] [RUN]``; with ``--all`` also dark, narrow and printed
ones. RUN: a results directory to take instead of a new demonstration.
"""

import argparse
import base64
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.report.browser import Browser

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "report.png"


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description="Take the picture of a report.")
    parser.add_argument("--all", type=Path, metavar="DIR", help="all sizes and themes, into DIR")
    parser.add_argument("run", type=Path, nargs="?", help="results directory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = arguments.run or demonstration(Path(folder))
        take(run / "report.html", Path(folder, "profile"), arguments.all)
    return 0


def demonstration(folder: Path) -> Path:
    """The results directory of ``harness demo``."""
    command = [sys.executable, "-c", "from harness.cli import main; main()", "demo"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=120)
    (run,) = (folder / "runs").iterdir()
    return run


def take(page: Path, profile: Path, everything: Path | None) -> None:
    """Pictures of one page."""
    profile.mkdir()
    browser = Browser(profile)
    try:
        browser.screen(1280)
        browser.open(page)
        if everything is None:
            browser.picture(PICTURE)
            print(PICTURE)
            return
        everything.mkdir(parents=True, exist_ok=True)
        for width in (1280, 390):
            for dark in (False, True):
                browser.screen(width, dark=dark)
                browser.open(page)
                name = f"{page.stem}-{width}-{'dark' if dark else 'light'}.png"
                browser.picture(everything / name)
                print(everything / name)
        paper = browser.send("Page.printToPDF", printBackground=True)["data"]
        (everything / f"{page.stem}.pdf").write_bytes(base64.b64decode(paper))
    finally:
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
