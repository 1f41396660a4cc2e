"""What of a run may be written: values as JSON has them, and no header value in them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from harness.config import BenchConfig
from harness.control.headers import redact

HIDDEN = "***"


class Redactor:
    """Knows a run's secrets, and takes them out of text that came from outside."""

    def __init__(self, config: BenchConfig) -> None:
        self._config = config
        self._headers = [(name, value.get_secret_value()) for name, value in config.headers]

    def config(self) -> dict[str, Any]:
        """The configuration as it was given, but each header's value hidden, in commands too."""
        shown: dict[str, Any] = _plain(self._config.model_dump(exclude={"headers", "at"}), _utf8)
        shown["at"] = [self.clean(one) for one in self._config.model_dump()["at"]]
        shown["headers"] = [[_utf8(name), HIDDEN] for name, _ in self._headers]
        return shown

    def text(self, text: str) -> str:
        """``text`` without secrets, as UTF-8 can hold it."""
        return redact(_utf8(text), self._headers)

    def clean(self, value: Any) -> Any:
        """A copy without secrets, of dict, list, str, int, float, bool and None alone.

        What is not a finite number becomes None. Raises TypeError for what has no such form.
        """
        return _plain(value, self.text)


def _utf8(text: str) -> str:
    """Without the lone surrogates that stand for undecodable bytes of a command line."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _plain(value: Any, text: Callable[[str], str]) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value), text)
    if isinstance(value, Mapping):
        # Keys are ours; a secret that happens to equal one must not take it away.
        return {_utf8(str(key)): _plain(item, text) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [_plain(item, text) for item in value]
    raise TypeError(f"{type(value).__name__} has no place in results")
