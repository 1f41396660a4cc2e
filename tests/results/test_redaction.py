"""What may be written: plain JSON values, no secret in any of them."""

from dataclasses import dataclass

import numpy as np
import pytest
from pydantic import SecretStr

from harness.config import BenchConfig
from harness.results.redaction import Redactor


@dataclass
class Part:
    text: str
    share: float


@pytest.fixture
def redactor() -> Redactor:
    headers = (("x-key", SecretStr("hunter22")),)
    return Redactor(BenchConfig(model="m", headers=headers))


def test_values(redactor: Redactor) -> None:
    given = {
        "part": Part("key hunter22", float("inf")),
        1: (np.int32(3), np.float64(0.5), np.bool_(True), None, True),
        "hunter22": np.arange(2),
    }
    assert redactor.clean(given) == {
        "part": {"text": "key ***", "share": None},
        "1": [3, 0.5, True, None, True],
        "hunter22": [0, 1],
    }


def test_config(redactor: Redactor) -> None:
    shown = redactor.config()
    assert shown["headers"] == [["x-key", "***"]]
    assert shown["model"] == "m"


def test_what_json_lacks_is_refused(redactor: Redactor) -> None:
    with pytest.raises(TypeError, match="bytes"):
        redactor.clean({"raw": b"x"})
