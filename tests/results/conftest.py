"""What the tests of stored results have in common."""

from pathlib import Path

import pytest

from tests.results.stored_cases import stored


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return stored(tmp_path / "out", "every outcome")
