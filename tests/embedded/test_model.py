import pytest

from harness.embedded.model import ModelSpec, TensorSpec, parse_model, parse_tensor
from harness.errors import UsageError


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("INPUT0:FP32:16", TensorSpec("INPUT0", "FP32", (16,))),
        ("a:b:INT64:-1,3,224", TensorSpec("a:b", "INT64", (-1, 3, 224))),
        ("scalar:BOOL:", TensorSpec("scalar", "BOOL", ())),
    ],
)
def test_tensors(text, spec):
    assert parse_tensor(text) == spec
    assert parse_tensor(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("INPUT0", "NAME:DATATYPE:DIMS"),
        ("INPUT0:FP33:16", "'FP33'"),
        ("INPUT0:FP32:x", "'x'"),
        ("INPUT0:FP32:0", "1.."),
        ("INPUT0:FP32:-2", "1.."),
        ("INPUT0:FP32:1,1,1,1,1,1,1,1,1", "at most 8"),
        (":FP32:1", "name ''"),
        ("a\nb:FP32:1", "printable"),
    ],
)
def test_a_bad_tensor_is_one_line(text, part):
    with pytest.raises(UsageError) as error:
        parse_tensor(text)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_the_identity_is_the_default():
    assert parse_model("identity", [], [], 0) == ModelSpec()


def test_a_name_twice_is_refused():
    with pytest.raises(UsageError, match="twice"):
        parse_model("m", ["a:FP32:1", "a:FP32:2"], [], 0)


def test_a_negative_batch_is_refused():
    with pytest.raises(UsageError, match="max-batch"):
        ModelSpec(max_batch=-1)
