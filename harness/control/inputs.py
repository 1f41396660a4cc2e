"""The one request a run sends: serialized once from a signature, only its id patched later."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from harness._response import request_id
from harness.config import BenchConfig
from harness.control.signature import DYNAMIC, Signature, Tensor
from harness.datatypes import ELEMENT_BYTES
from harness.errors import UsageError
from harness.units import format_bytes
from harness.untrusted import clean_text

ID_BYTES = 16
"""A prefix character and 15 lower-case hexadecimal digits."""

SLOT_PREFIX = "s"
WARMUP_PREFIX = "w"
PROBE_PREFIX = "p"

STRING_BYTES = 128
"""Length of each random element of the datatype BYTES."""

MAX_REQUEST_BYTES = 2**30

INPUT_SPAWN_KEY = (1,)
"""Keeps the input data's random stream apart from the plan's."""

_ID_FIELD = service_pb2.ModelInferRequest.DESCRIPTOR.fields_by_name["id"].number
_LENGTH_DELIMITED = 2


@dataclass(frozen=True)
class Payload:
    """A serialized ModelInferRequest, without gRPC's 5-byte prefix.

    ``message[id_offset : id_offset + id_bytes]`` is the request id, to be patched in place.
    ``response_bytes_estimate`` counts a dynamic dimension as 1 and a BYTES element as STRING_BYTES.
    """

    message: bytes
    id_offset: int
    request_bytes: int
    response_bytes_estimate: int
    n_outputs: int
    id_bytes: int = ID_BYTES

    def with_id(self, request_id: bytes) -> bytes:
        """A copy of the message that carries ``request_id``, which must have ``id_bytes`` bytes."""
        if len(request_id) != self.id_bytes:
            raise ValueError(f"a request id has {self.id_bytes} bytes, not {len(request_id)}")
        end = self.id_offset + self.id_bytes
        return self.message[: self.id_offset] + request_id + self.message[end:]


def build_payload(signature: Signature, config: BenchConfig) -> Payload:
    """The request of a run, a pure function of the signature, and the config's batch, shapes,
    input data, seed, model and version.

    Raises UsageError: shapes missing, unknown or contradicting, batch not possible, too large.
    """
    shapes = request_shapes(signature, config)
    tensors = [tensor for tensor in signature.inputs if tensor.name in shapes]
    sizes = {one.name: _raw_bytes(one, shapes[one.name], config.input_data) for one in tensors}
    total_bytes = sum(sizes.values())
    if total_bytes > MAX_REQUEST_BYTES:
        raise UsageError(
            f"one request would have {format_bytes(total_bytes)} of input; the most is"
            f" {format_bytes(MAX_REQUEST_BYTES)}: give a smaller -b or --shape"
        )
    generator = np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(config.seed, spawn_key=INPUT_SPAWN_KEY))
    )
    request = service_pb2.ModelInferRequest(
        model_name=config.model,
        model_version=config.model_version,
        id=request_id(SLOT_PREFIX, 0).decode("ascii"),
    )
    # By name: servers may list the same inputs in another order, and the data must not differ.
    for tensor in sorted(tensors, key=lambda one: one.name):
        shape = shapes[tensor.name]
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        count = math.prod(shape)
        if config.input_data == "zero":
            raw = bytes(sizes[tensor.name])
        else:
            raw = _random_contents(generator, tensor.datatype, count)
        request.raw_input_contents.append(raw)
    message: bytes = request.SerializeToString()
    return Payload(
        message=message,
        id_offset=find_id(message),
        request_bytes=len(message),
        response_bytes_estimate=_response_estimate(signature, config),
        n_outputs=len(signature.outputs),
    )


def request_shapes(signature: Signature, config: BenchConfig) -> dict[str, tuple[int, ...]]:
    """The shape each input is sent with, batch included; an open optional input is left out.

    Raises UsageError.
    """
    _check_batch(signature, config.batch)
    known = {tensor.name for tensor in signature.inputs}
    for name in config.shapes:
        if name not in known:
            names = clean_text(", ".join(sorted(known)), 120) or "none"
            raise UsageError(
                f"--shape: the model has no input '{clean_text(name, 60)}'; its inputs: {names}"
            )
    shapes = {}
    for tensor in signature.inputs:
        is_open = DYNAMIC in _own_dims(tensor, signature)
        if tensor.optional and is_open and tensor.name not in config.shapes:
            continue
        shapes[tensor.name] = _request_shape(tensor, signature, config.batch, config.shapes)
    return shapes


def find_id(message: bytes) -> int:
    """Where the bytes of the field ``id`` begin in a serialized ModelInferRequest.

    Walks the protobuf wire format at the top level; a value that looks like an id is no id.
    Raises ValueError unless there is exactly one, of ID_BYTES bytes.
    """
    offsets = []
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type != _LENGTH_DELIMITED:
            raise ValueError(f"field {number} has wire type {wire_type}")
        size, position = _varint(message, position)
        if position + size > len(message):
            raise ValueError(f"field {number} ends past the message")
        if number == _ID_FIELD:
            if size != ID_BYTES:
                raise ValueError(f"the id has {size} bytes instead of {ID_BYTES}")
            offsets.append(position)
        position += size
    if len(offsets) != 1:
        raise ValueError(f"the message has {len(offsets)} ids instead of one")
    return offsets[0]


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a varint does not end")


def _check_batch(signature: Signature, batch: int) -> None:
    if signature.max_batch_size == 0 and batch > 1:
        raise UsageError(f"-b {batch}: the model does not batch (max_batch_size 0); leave -b out")
    if signature.max_batch_size and batch > signature.max_batch_size:
        raise UsageError(
            f"-b {batch} is over the model's max_batch_size {signature.max_batch_size}"
        )


def _own_dims(tensor: Tensor, signature: Signature) -> tuple[int, ...]:
    """The dimensions --shape speaks of: those after the batch dimension."""
    return tensor.shape[1:] if signature.max_batch_size else tensor.shape


def _request_shape(
    tensor: Tensor, signature: Signature, batch: int, given: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...]:
    dims = _own_dims(tensor, signature)
    shown = clean_text(tensor.name, 60)
    declared = f"[{','.join(map(str, dims))}]"
    if tensor.name in given:
        asked = given[tensor.name]
        fits = len(asked) == len(dims) and all(
            size in (DYNAMIC, wanted) for size, wanted in zip(dims, asked, strict=True)
        )
        if not fits or min(asked, default=1) < 1:
            hint = " (without the batch dimension)" if signature.max_batch_size else ""
            raise UsageError(
                f"--shape {shown}:{','.join(map(str, asked))} does not fit the model's"
                f" {declared}{hint}"
            )
        dims = asked
    elif DYNAMIC in dims:
        example = ",".join("N" if size == DYNAMIC else str(size) for size in dims)
        raise UsageError(
            f"input '{shown}' has dynamic dimensions {declared}; write --shape {shown}:{example}"
            " with a number for each N"
        )
    return (batch, *dims) if signature.max_batch_size else dims


def _raw_bytes(tensor: Tensor, shape: tuple[int, ...], input_data: str) -> int:
    size = ELEMENT_BYTES[tensor.datatype]
    if size is None:
        size = 4 + (STRING_BYTES if input_data == "random" else 0)
    return math.prod(shape) * size


def _random_contents(generator: np.random.Generator, datatype: str, count: int) -> bytes:
    """``count`` elements: floats in [0, 1), integers in [0, 128), strings of STRING_BYTES."""
    values: npt.NDArray[np.generic]
    if datatype == "BYTES":
        rows = np.empty((count, 4 + STRING_BYTES), np.uint8)
        rows[:, :4] = np.frombuffer(STRING_BYTES.to_bytes(4, "little"), np.uint8)
        rows[:, 4:] = generator.integers(ord("a"), ord("z") + 1, (count, STRING_BYTES), np.uint8)
        values = rows
    elif datatype == "BOOL":
        values = generator.integers(0, 2, count, np.uint8)
    elif datatype == "FP64":
        values = generator.random(count, np.float64).astype("<f8")
    elif datatype == "FP32":
        values = generator.random(count, np.float32).astype("<f4")
    elif datatype == "FP16":
        # Steps of 2^-11 are exact in FP16, so that none is rounded up to 1.
        values = (generator.integers(0, 2**11, count) / 2**11).astype("<f2")
    elif datatype == "BF16":
        steps = (generator.integers(0, 2**8, count) / 2**8).astype("<f4")
        values = (steps.view("<u4") >> 16).astype("<u2")
    else:
        size = ELEMENT_BYTES[datatype]
        values = generator.integers(0, 128, count, np.uint8).astype(f"<u{size}")
    return values.tobytes()


def _response_estimate(signature: Signature, config: BenchConfig) -> int:
    total = 64 + len(config.model)
    for tensor in signature.outputs:
        dims = [1 if size == DYNAMIC else size for size in tensor.shape]
        if signature.max_batch_size:
            dims[0] = config.batch
        size = ELEMENT_BYTES[tensor.datatype]
        total += math.prod(dims) * (4 + STRING_BYTES if size is None else size)
        total += 64 + len(tensor.name)
    return total
