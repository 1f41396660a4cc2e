"""One browser for all tests of pages; with ``--dist loadgroup`` one worker runs them."""

from collections.abc import Iterator

import pytest

from tests.report.browser import Browser


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium, for the whole session."""
    one = Browser(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()
