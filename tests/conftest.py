"""What tests share: a real Triton server, and waiting on a condition."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.triton.provision import TritonInstallation, find, provision
from harness.triton.server import TritonServer

EXAMPLE_MODELS = Path(__file__).resolve().parents[1] / "examples" / "models"


HAS_GPU = any(Path("/dev").glob("nvidia[0-9]*"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of a real Triton carry the marker; with ``--dist loadgroup`` one worker runs them.

    Tests of a GPU are left out where there is none.
    """
    if not HAS_GPU:
        without = [item for item in items if item.get_closest_marker("gpu") is not None]
        if without:
            config.hook.pytest_deselected(items=without)
            items[:] = [item for item in items if item not in without]
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "triton" in names or "triton_installation" in names:
            item.add_marker(pytest.mark.triton)
            item.user_properties.append(("triton", True))
        if "triton" in names:
            item.add_marker(pytest.mark.xdist_group("triton"))


def pytest_configure() -> None:
    """A shell's background job ignores SIGINT, and so would every process that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests ran against a real Triton."""
    ran = [
        report
        for kind in ("passed", "failed")
        for report in terminalreporter.stats.get(kind, [])
        if ("triton", True) in map(tuple, report.user_properties)
    ]
    terminalreporter.write_line(f"{len(ran)} tests ran against a real Triton server")


@pytest.fixture(scope="session")
def triton_installation() -> TritonInstallation:
    """A provisioned Triton; made now if there is none."""
    return find() or provision(say=print)


@pytest.fixture(scope="session")
def triton(triton_installation: TritonInstallation) -> Iterator[TritonServer]:
    """A real Triton server with the models of examples/models, for the whole session.

    A test that changes or breaks its server starts one of its own.
    """
    with TritonServer(EXAMPLE_MODELS, installation=triton_installation) as server:
        yield server


@pytest.fixture
def model_repository(tmp_path: Path) -> Callable[..., Path]:
    """Makes a repository of the named example models, for a test's own server."""

    def make(*names: str) -> Path:
        root = tmp_path / "models"
        for name in names:
            shutil.copytree(EXAMPLE_MODELS / name, root / name)
        return root

    return make


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """``wait_until(condition, timeout_s=5, what="...")``: the test fails if it stays false."""

    def wait(condition: Callable[[], object], timeout_s: float = 5.0, what: str = "") -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout_s} s: {what or condition}")
            time.sleep(0.005)

    return wait


@pytest.fixture
def shared_memory_names() -> Callable[[str], set[str]]:
    """The names in /dev/shm that start with a prefix."""

    def names(prefix: str) -> set[str]:
        return {name for name in os.listdir("/dev/shm") if name.startswith(prefix)}

    return names
