"""The model that the embedded server offers: names, datatypes and shapes."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.datatypes import ELEMENT_BYTES
from harness.errors import UsageError

MAX_TENSORS = 32
MAX_RANK = 8
MAX_NAME_BYTES = 128
MAX_DIM = 2**31 - 1
MAX_BATCH = 2**20


@dataclass(frozen=True)
class TensorSpec:
    """One input or output; ``dims`` without the batch dimension, -1 is dynamic."""

    name: str
    datatype: str
    dims: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}:{self.datatype}:{','.join(map(str, self.dims))}"


@dataclass(frozen=True)
class ModelSpec:
    """A model of one version, "1". ``max_batch`` 0: requests have no batch dimension.

    Output i gives back input i's shape and bytes if their datatypes and dims are equal,
    else zeros.

    Raises:
        UsageError: a name, a shape or a count is out of bounds.
    """

    name: str = "identity"
    inputs: tuple[TensorSpec, ...] = (TensorSpec("INPUT0", "FP32", (16,)),)
    outputs: tuple[TensorSpec, ...] = (TensorSpec("OUTPUT0", "FP32", (16,)),)
    max_batch: int = 0

    def __post_init__(self) -> None:
        check_name(self.name, "model")
        if not 0 <= self.max_batch <= MAX_BATCH:
            raise UsageError(f"--max-batch {self.max_batch}: not in 0..{MAX_BATCH}")
        for kind, tensors in (("input", self.inputs), ("output", self.outputs)):
            if not 1 <= len(tensors) <= MAX_TENSORS:
                raise UsageError(f"{len(tensors)} {kind}s: a model has 1 to {MAX_TENSORS}")
            names = [tensor.name for tensor in tensors]
            for name in names:
                if names.count(name) > 1:
                    raise UsageError(f"{kind} {name!r} is declared twice")


def check_name(name: str, what: str) -> None:
    """Raises UsageError for a name the wire or a terminal would not carry."""
    if not name or len(name.encode()) > MAX_NAME_BYTES or not name.isprintable():
        raise UsageError(f"{what} name {name!r}: 1 to {MAX_NAME_BYTES} printable bytes")


def parse_tensor(text: str) -> TensorSpec:
    """`INPUT0:FP32:3,224,224`; the dims may be empty for a scalar.

    Raises:
        UsageError: naming the part that cannot be read.
    """
    parts = text.rsplit(":", 2)
    if len(parts) != 3:
        raise UsageError(f"tensor {text!r}: write NAME:DATATYPE:DIMS, as INPUT0:FP32:16")
    name, datatype, dims_text = parts
    check_name(name, "tensor")
    if datatype not in ELEMENT_BYTES:
        raise UsageError(f"tensor {text!r}: unknown datatype {datatype!r}")
    try:
        dims = tuple(int(dim) for dim in dims_text.split(",")) if dims_text else ()
    except ValueError:
        raise UsageError(f"tensor {text!r}: dims {dims_text!r} are not integers") from None
    if len(dims) > MAX_RANK or not all(dim == -1 or 0 < dim <= MAX_DIM for dim in dims):
        raise UsageError(f"tensor {text!r}: at most {MAX_RANK} dims, each -1 or in 1..{MAX_DIM}")
    return TensorSpec(name, datatype, dims)


def parse_model(
    name: str, inputs: Sequence[str], outputs: Sequence[str], max_batch: int
) -> ModelSpec:
    """A model from the command line's spellings; the identity's tensors where none are given.

    Raises:
        UsageError: as parse_tensor and ModelSpec.
    """
    identity = ModelSpec()
    return ModelSpec(
        name,
        tuple(map(parse_tensor, inputs)) or identity.inputs,
        tuple(map(parse_tensor, outputs)) or identity.outputs,
        max_batch,
    )
