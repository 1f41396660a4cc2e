"""A model's inputs and outputs, read from a server's metadata, which is not trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.datatypes import ELEMENT_BYTES
from harness.errors import NotStartedError
from harness.units import MAX_DIM, MAX_RANK
from harness.untrusted import clean_text

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig
    from tritonclient.grpc.service_pb2 import ModelMetadataResponse

MAX_TENSORS = 256  # a side
MAX_NAME_BYTES = 1024
MAX_VERSIONS = 1024
MAX_ELEMENTS = 2**40

DYNAMIC = -1
"""A dimension the model leaves open."""


@dataclass(frozen=True)
class Tensor:
    """One input or output. ``shape`` has the batch dimension, DYNAMIC for what is left open."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False

    @property
    def element_count(self) -> int | None:
        """Elements of the tensor; None if a dimension is dynamic."""
        return None if DYNAMIC in self.shape else math.prod(self.shape)

    @property
    def byte_count(self) -> int | None:
        """Bytes of its raw contents; None for a dynamic dimension or the datatype BYTES."""
        count, size = self.element_count, ELEMENT_BYTES[self.datatype]
        return None if count is None or size is None else count * size

    @property
    def text(self) -> str:
        """``FP32[-1,16]``: the datatype and the shape."""
        return f"{self.datatype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives. ``max_batch_size`` 0: it does not batch."""

    model: str
    version: str
    platform: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    decoupled: bool = False

    @classmethod
    def from_protobuf(
        cls, metadata: ModelMetadataResponse, config: ModelConfig, version: str = ""
    ) -> Signature:
        """From a server's ModelMetadata and ModelConfig answers.

        ``version`` is the one asked for; if empty, the highest the server names.
        Raises NotStartedError for what no model can mean or what is out of bounds.
        """
        for what, text in (("name", metadata.name), ("platform", metadata.platform)):
            _check_name(f"the model's {what}", text)
        if len(metadata.versions) > MAX_VERSIONS:
            raise NotStartedError(
                f"model metadata names {len(metadata.versions)} versions;"
                f" the most is {MAX_VERSIONS}"
            )
        for one in metadata.versions:
            _check_name("a model version", one)
        max_batch_size = int(config.max_batch_size)
        if max_batch_size < 0:
            raise NotStartedError(f"model configuration: max_batch_size is {max_batch_size}")
        if len(config.input) > MAX_TENSORS:
            raise NotStartedError(
                f"model configuration has {len(config.input)} inputs; the most is {MAX_TENSORS}"
            )
        optional = {one.name for one in config.input if one.optional}
        inputs = _tensors("input", metadata.inputs, max_batch_size, optional)
        outputs = _tensors("output", metadata.outputs, max_batch_size, set())
        if not outputs:
            raise NotStartedError("model metadata declares no output: nothing could be checked")
        return cls(
            model=metadata.name,
            version=version or _highest(metadata.versions),
            platform=metadata.platform,
            inputs=inputs,
            outputs=outputs,
            max_batch_size=max_batch_size,
            decoupled=bool(config.model_transaction_policy.decoupled),
        )

    def difference(self, other: Signature) -> str | None:
        """The first thing in which two signatures do not match; None if they match.

        Compared: names, datatypes and shapes of inputs and outputs, in any order.
        """
        for side, own, others in (
            ("input", self.inputs, other.inputs),
            ("output", self.outputs, other.outputs),
        ):
            mine = {tensor.name: tensor for tensor in own}
            theirs = {tensor.name: tensor for tensor in others}
            for name in sorted(mine.keys() | theirs.keys()):
                shown = clean_text(name, 60)
                if name not in theirs:
                    return f"{side} '{shown}' is missing"
                if name not in mine:
                    return f"{side} '{shown}' is additional"
                if mine[name].text != theirs[name].text:
                    return f"{side} '{shown}' is {theirs[name].text} instead of {mine[name].text}"
        return None


def _tensors(
    side: str, entries: Iterable[Any], max_batch_size: int, optional: set[str]
) -> tuple[Tensor, ...]:
    tensors: dict[str, Tensor] = {}
    for entry in entries:
        if len(tensors) == MAX_TENSORS:
            raise NotStartedError(f"model metadata has more than {MAX_TENSORS} {side}s")
        tensor = _tensor(side, entry, max_batch_size, optional)
        if tensor.name in tensors:
            raise NotStartedError(
                f"model metadata has two {side}s named '{clean_text(tensor.name, 60)}'"
            )
        tensors[tensor.name] = tensor
    return tuple(tensors.values())


def _tensor(side: str, entry: Any, max_batch_size: int, optional: set[str]) -> Tensor:
    name: str = entry.name
    datatype: str = entry.datatype
    dims = entry.shape
    _check_name(f"an {side}'s name", name)
    if not name:
        raise NotStartedError(f"model metadata has an {side} without a name")
    shown = f"model metadata: {side} '{clean_text(name, 60)}'"
    if datatype not in ELEMENT_BYTES:
        raise NotStartedError(f"{shown} has the unknown datatype '{clean_text(datatype, 20)}'")
    if len(dims) > MAX_RANK:
        raise NotStartedError(f"{shown} has {len(dims)} dimensions; the most is {MAX_RANK}")
    shape = tuple(int(dim) for dim in dims)
    for dim in shape:
        if dim != DYNAMIC and not 1 <= dim <= MAX_DIM:
            raise NotStartedError(f"{shown} has dimension {dim}, not -1 or within 1..{MAX_DIM}")
    elements = math.prod(dim for dim in shape if dim != DYNAMIC)
    if elements > MAX_ELEMENTS:
        raise NotStartedError(f"{shown} has {elements} elements; the most is {MAX_ELEMENTS}")
    if max_batch_size > 0 and (not shape or shape[0] != DYNAMIC):
        raise NotStartedError(
            f"{shown} does not begin with the batch dimension -1,"
            f" though max_batch_size is {max_batch_size}"
        )
    return Tensor(name, datatype, shape, name in optional)


def _check_name(what: str, text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_NAME_BYTES:
        raise NotStartedError(
            f"model metadata: {what} has {size} bytes; the most is {MAX_NAME_BYTES}"
        )


def _highest(versions: Iterable[str]) -> str:
    def key(version: str) -> tuple[int, str]:
        plain = version.isascii() and version.isdigit() and len(version) <= 20
        return (int(version) if plain else -1, version)

    return max(versions, key=key, default="")
