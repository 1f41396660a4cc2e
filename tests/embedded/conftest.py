"""What tests of the embedded server share."""

from collections.abc import Iterator

import pytest

from harness.embedded.server import EmbeddedServer


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A server with the default model, for one file of tests."""
    with EmbeddedServer() as running:
        yield running
