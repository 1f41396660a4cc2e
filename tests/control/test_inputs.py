import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor

from harness.config import BenchConfig
from harness.control.inputs import ID_BYTES, STRING_BYTES, build_payload, find_id, request_id
from harness.control.signature import ELEMENT_BYTES, Signature, Tensor
from harness.errors import UsageError

OUTPUTS = (Tensor("OUT", "FP32", (-1, 16)),)


def signature_of(*inputs, max_batch_size=0, outputs=OUTPUTS):
    return Signature("m", "1", "p", inputs, outputs, max_batch_size)


def parsed(payload):
    return service_pb2.ModelInferRequest.FromString(payload.message)


def test_batched_request():
    signature = signature_of(Tensor("IN", "FP32", (-1, 16)), max_batch_size=8)
    payload = build_payload(signature, BenchConfig(model="m", model_version="3", batch=4))
    request = parsed(payload)
    assert (request.model_name, request.model_version, request.id) == ("m", "3", "s" + "0" * 15)
    assert list(request.inputs[0].shape) == [4, 16]
    assert len(request.raw_input_contents[0]) == 4 * 16 * 4
    assert payload.request_bytes == len(payload.message)
    assert payload.n_outputs == 1
    assert 4 * 16 * 4 <= payload.response_bytes_estimate <= 4 * 16 * 4 + 256


@pytest.mark.parametrize("datatype", sorted(set(ELEMENT_BYTES) - {"BYTES", "BF16"}))
def test_random_values(datatype):
    signature = signature_of(Tensor("IN", datatype, (5000,)))
    raw = parsed(build_payload(signature, BenchConfig(model="m"))).raw_input_contents[0]
    kinds = {"BOOL": "?", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
    size = ELEMENT_BYTES[datatype]
    kind = kinds.get(datatype, f"<{'u' if datatype[0] == 'U' else 'i'}{size}")
    values = np.frombuffer(raw, kind)
    assert len(values) == 5000
    assert values.min() >= 0
    high = {"B": 2, "F": 1}.get(datatype[0], 128)
    assert values.max() < high or datatype == "BOOL"
    if datatype == "BOOL":
        assert set(raw) == {0, 1}
    else:
        assert len(np.unique(values)) > 100
        assert abs(float(values.mean(dtype=np.float64)) / high - 0.5) < 0.05


def test_random_bf16_and_strings():
    signature = signature_of(Tensor("B", "BF16", (1000,)), Tensor("S", "BYTES", (2, 3)))
    raw = parsed(build_payload(signature, BenchConfig(model="m"))).raw_input_contents
    halves = (np.frombuffer(raw[0], "<u2").astype("<u4") << 16).view("<f4")
    assert len(halves) == 1000
    assert 0 <= halves.min() < halves.max() < 1
    strings = deserialize_bytes_tensor(raw[1])
    assert len(strings) == 6
    assert {len(one) for one in strings} == {STRING_BYTES}
    assert all(one.isalpha() and one.islower() for one in strings)
    assert len(set(strings)) == 6


def test_zero_data():
    signature = signature_of(Tensor("A", "FP16", (3,)), Tensor("S", "BYTES", (2,)))
    raw = parsed(build_payload(signature, BenchConfig(model="m", input_data="zero")))
    assert list(raw.raw_input_contents) == [bytes(6), bytes(8)]
    assert list(deserialize_bytes_tensor(raw.raw_input_contents[1])) == [b"", b""]


def test_data_depends_on_the_seed_alone():
    a, b = Tensor("A", "INT32", (64,)), Tensor("B", "FP32", (64,))
    config = BenchConfig(model="m", seed=7)
    first = build_payload(signature_of(a, b), config).message
    assert build_payload(signature_of(b, a), config).message == first
    other = build_payload(signature_of(a, b), BenchConfig(model="m", seed=8)).message
    assert other != first


@pytest.mark.parametrize(
    ("shape", "max_batch_size", "given_shapes", "expected"),
    [
        ((-1, 3, -1, -1), 8, {"IN": (3, 224, 224)}, [1, 3, 224, 224]),
        ((-1, 4), 0, {"IN": (2, 4)}, [2, 4]),
        ((-1, 16), 8, {}, [1, 16]),
        ((-1, 16), 8, {"IN": (16,)}, [1, 16]),
        ((-1,), 8, {}, [1]),
        ((), 0, {}, []),
    ],
)
def test_shapes(shape, max_batch_size, given_shapes, expected):
    signature = signature_of(Tensor("IN", "FP32", shape), max_batch_size=max_batch_size)
    payload = build_payload(signature, BenchConfig(model="m", shapes=given_shapes))
    assert list(parsed(payload).inputs[0].shape) == expected


@pytest.mark.parametrize(
    ("fields", "max_batch_size", "said"),
    [
        ({}, 8, r"input 'IN' has dynamic dimensions \[3,-1\]; write --shape IN:3,N"),
        ({"shapes": {"X": (3,)}}, 8, "no input 'X'; its inputs: IN"),
        ({"shapes": {"IN": (4, 2)}}, 8, r"IN:4,2 does not fit the model's \[3,-1\]"),
        ({"shapes": {"IN": (1, 3, 2)}}, 8, "without the batch dimension"),
        ({"shapes": {"IN": (3, -1)}}, 8, "does not fit"),
        ({"shapes": {"IN": (3, 2)}, "batch": 9}, 8, "-b 9 is over the model's max_batch_size 8"),
        ({"shapes": {"IN": (2, 3, 2)}, "batch": 2}, 0, "does not batch"),
        ({"shapes": {"IN": (3, 2**31 - 1)}}, 8, "of input; the most is 1 GiB"),
    ],
)
def test_refused(fields, max_batch_size, said):
    signature = signature_of(Tensor("IN", "FP32", (-1, 3, -1)), max_batch_size=max_batch_size)
    with pytest.raises(UsageError, match=said):
        build_payload(signature, BenchConfig(model="m", **fields))


def test_open_optional_input_is_left_out_unless_shaped():
    signature = signature_of(Tensor("A", "FP32", (2,)), Tensor("B", "FP32", (-1,), optional=True))
    without = parsed(build_payload(signature, BenchConfig(model="m")))
    assert [one.name for one in without.inputs] == ["A"]
    assert len(without.raw_input_contents) == 1
    shaped = parsed(build_payload(signature, BenchConfig(model="m", shapes={"B": (5,)})))
    assert [one.name for one in shaped.inputs] == ["A", "B"]


def test_a_model_name_that_looks_like_the_id_is_not_taken_for_it():
    name = "\x1a\x10" + "s" + "0" * 15
    signature = signature_of(Tensor("s000000000000000", "BYTES", (1,)))
    payload = build_payload(signature, BenchConfig(model=name, model_version="s000000000000000"))
    request = service_pb2.ModelInferRequest.FromString(payload.with_id(b"pffffffffffffff1"))
    assert request.id == "pffffffffffffff1"
    assert (request.model_name, request.model_version) == (name, "s000000000000000")
    assert request.inputs[0].name == "s000000000000000"


@given(st.text(min_size=1, max_size=300), st.text(max_size=50), st.integers(0, 16**15 - 1))
def test_patched_id_is_read_back(model, version, number):
    signature = signature_of(Tensor("IN", "UINT8", (300,)))
    payload = build_payload(signature, BenchConfig(model=model, model_version=version))
    request = service_pb2.ModelInferRequest.FromString(payload.with_id(request_id("s", number)))
    assert int(request.id[1:], 16) == number
    assert request.model_name == model
    assert request.raw_input_contents == parsed(payload).raw_input_contents


@given(st.binary(max_size=200))
def test_find_id_ends_on_any_bytes(message):
    try:
        offset = find_id(message)
    except ValueError:
        return
    assert offset + ID_BYTES <= len(message)


def test_request_ids():
    assert request_id("s", 42) == b"s00000000000002a"
    with pytest.raises(ValueError, match="no request id"):
        request_id("s", 16**15)
    with pytest.raises(ValueError, match="16 bytes"):
        build_payload(signature_of(Tensor("IN", "UINT8", (1,))), BenchConfig(model="m")).with_id(
            b"short"
        )
