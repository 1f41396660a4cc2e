"""What of a run may be written: values as JSON has them, and no header value in them."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from harness.config import BenchConfig
from harness.headers import redact

HIDDEN = "***"


class Redactor:
    """Knows a run's secrets, and takes them out of text that came from outside."""

    def __init__(self, config: BenchConfig) -> None:
        self._config = config
        self._headers = [(name, value.get_secret_value()) for name, value in config.headers]

    def config(self) -> dict[str, Any]:
        """The configuration with each header's value hidden."""
        shown = self._config.model_dump(mode="json", exclude={"headers"})
        shown["headers"] = [[name, HIDDEN] for name, _ in self._headers]
        return shown

    def text(self, text: str) -> str:
        """Without secrets, and without lone surrogates, which no UTF-8 file can hold."""
        whole = text.encode("utf-8", "replace").decode("utf-8")
        return redact(whole, self._headers)

    def clean(self, value: Any) -> Any:
        """A copy made of dict, list, str, int, float, bool and None alone; not-a-number is None.

        Raises TypeError for what has no such form.
        """
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, float | np.floating):
            return float(value) if np.isfinite(value) else None
        if isinstance(value, np.bool_ | np.integer):
            return value.item()
        if is_dataclass(value) and not isinstance(value, type):
            return self.clean(asdict(value))
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset | np.ndarray):
            return [self.clean(item) for item in value]
        raise TypeError(f"{type(value).__name__} has no place in results")
