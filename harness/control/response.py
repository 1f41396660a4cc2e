"""Whether a ModelInferResponse is what the model's signature promises."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.control.signature import DYNAMIC, MAX_ELEMENTS, Signature, Tensor
from harness.datatypes import ELEMENT_BYTES
from harness.units import MAX_RANK
from harness.untrusted import clean_text

if TYPE_CHECKING:
    from tritonclient.grpc.service_pb2 import ModelInferResponse

EMPTY_OUTPUTS_HINT = (
    "Triton's Python backend answers so when numpy 2 is in its environment; install numpy<2 there"
)

_CONTENTS_FIELD = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def response_fault(
    response: ModelInferResponse, signature: Signature, request_id: bytes
) -> str | None:
    """What is wrong with a response, as the end of a sentence; None if nothing is.

    Checked: the id is echoed; every declared output is there once, with its datatype, a shape that
    fits the declared one and as many bytes (or typed values) as that shape needs.
    """
    if response.id.encode("utf-8", "replace") != request_id:
        return f"echoed the id '{clean_text(response.id, 40)}' instead of '{request_id.decode()}'"
    by_name = {output.name: index for index, output in enumerate(response.outputs)}
    raw = response.raw_output_contents
    if len(by_name) != len(response.outputs):
        return "has two outputs of one name"
    if not response.outputs or (raw and not any(raw)):
        return f"is OK but its outputs are empty ({EMPTY_OUTPUTS_HINT})"
    if raw and len(raw) != len(response.outputs):
        return f"has {len(response.outputs)} outputs but {len(raw)} raw contents"
    for tensor in signature.outputs:
        if tensor.name not in by_name:
            return f"lacks the output '{clean_text(tensor.name, 60)}'"
        index = by_name[tensor.name]
        output = response.outputs[index]
        fault = _output_fault(tensor, output, raw[index] if raw else None)
        if fault is not None:
            return f"has output '{clean_text(tensor.name, 60)}' {fault}"
    return None


def _output_fault(tensor: Tensor, output: Any, raw: bytes | None) -> str | None:
    if output.datatype != tensor.datatype:
        return f"as {clean_text(output.datatype, 20)} instead of {tensor.datatype}"
    if len(output.shape) > MAX_RANK or len(output.shape) != len(tensor.shape):
        return f"with {len(output.shape)} dimensions instead of {len(tensor.shape)}"
    shape = tuple(int(size) for size in output.shape)
    for got, declared in zip(shape, tensor.shape, strict=True):
        if got < 0 or declared not in (DYNAMIC, got):
            return f"of shape {list(shape)}, which does not fit {list(tensor.shape)}"
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        return f"of {count} elements; the most is {MAX_ELEMENTS}"
    if raw is None:
        field = _CONTENTS_FIELD.get(tensor.datatype)
        got = len(getattr(output.contents, field)) if field else 0
        return None if got == count else f"with {got} values where its shape needs {count}"
    if tensor.datatype == "BYTES":
        return None if _holds_strings(raw, count) else f"that does not hold {count} strings"
    size = ELEMENT_BYTES[tensor.datatype] or 0
    if len(raw) != count * size:
        return f"with {len(raw)} bytes where its shape needs {count * size}"
    return None


def _holds_strings(raw: bytes, count: int) -> bool:
    position = found = 0
    while position < len(raw) and found < count:
        if position + 4 > len(raw):
            return False
        position += 4 + int.from_bytes(raw[position : position + 4], "little")
        found += 1
    return position == len(raw) and found == count
