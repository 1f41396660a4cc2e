import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from harness.control.response import response_fault
from harness.control.signature import Signature, Tensor

SIGNATURE = Signature(
    "m", "1", "p", (), (Tensor("A", "FP32", (-1, 2)), Tensor("S", "BYTES", (-1,))), 0
)
ID = b"p000000000000001"


def good():
    response = service_pb2.ModelInferResponse(id=ID.decode())
    response.outputs.add(name="S", datatype="BYTES", shape=[2])
    response.outputs.add(name="A", datatype="FP32", shape=[3, 2])
    response.raw_output_contents.extend([b"\x01\0\0\0x\0\0\0\0", bytes(24)])
    return response


def typed():
    response = good()
    response.raw_output_contents.clear()
    response.outputs[0].contents.bytes_contents.extend([b"x", b""])
    response.outputs[1].contents.fp32_contents.extend([0.0] * 6)
    return response


def test_good_ones():
    assert response_fault(good(), SIGNATURE, ID) is None
    assert response_fault(typed(), SIGNATURE, ID) is None


def emptied(response):
    response.raw_output_contents[:] = [b"", b""]


def without_outputs(response):
    response.outputs.clear()
    response.raw_output_contents.clear()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda r: setattr(r, "id", ""), "echoed the id '' instead of 'p000000000000001'"),
        (lambda r: setattr(r, "id", "s000000000000001"), "echoed the id"),
        (without_outputs, "numpy 2"),
        (emptied, "numpy 2"),
        (lambda r: r.raw_output_contents.pop(), "2 outputs but 1 raw contents"),
        (lambda r: r.outputs.add(name="A"), "two outputs of one name"),
        (lambda r: setattr(r.outputs[1], "name", "B"), "lacks the output 'A'"),
        (lambda r: setattr(r.outputs[1], "datatype", "FP16"), "as FP16 instead of FP32"),
        (lambda r: r.outputs[1].shape.append(1), "with 3 dimensions instead of 2"),
        (lambda r: r.outputs[1].shape.__setitem__(1, 3), "does not fit"),
        (lambda r: r.outputs[1].shape.__setitem__(0, -3), "does not fit"),
        (lambda r: r.outputs[1].shape.__setitem__(0, 4), "24 bytes where its shape needs 32"),
        (lambda r: r.outputs[1].shape.__setitem__(0, 2**62), "elements; the most"),
        (lambda r: r.outputs[0].shape.__setitem__(0, 3), "does not hold 3 strings"),
        (lambda r: r.raw_output_contents.__setitem__(0, b"\x05\0\0\0x"), "does not hold 2"),
        (lambda r: r.raw_output_contents.__setitem__(0, b"\x05\0"), "does not hold 2"),
    ],
)
def test_faults(spoil, said):
    response = good()
    spoil(response)
    assert said in response_fault(response, SIGNATURE, ID)


def test_typed_contents_are_counted():
    response = typed()
    response.outputs[1].contents.fp32_contents.pop()
    assert "5 values where its shape needs 6" in response_fault(response, SIGNATURE, ID)


@given(st.binary(max_size=40), st.integers(0, 5))
def test_any_string_contents_end(raw, count):
    response = good()
    response.raw_output_contents[0] = raw
    response.outputs[0].shape[0] = count
    fault = response_fault(response, SIGNATURE, ID)
    assert fault is None or "strings" in fault
