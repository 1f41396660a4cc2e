import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2, service_pb2

from harness.control.signature import ELEMENT_BYTES, Signature, Tensor
from harness.errors import NotStartedError
from tests.grpc_fixture import identity_config, identity_metadata

DATATYPES = model_config_pb2.DataType.DESCRIPTOR.values_by_name


def signature_of(inputs, outputs, max_batch_size=0, **fields):
    return Signature("m", "1", "p", tuple(inputs), tuple(outputs), max_batch_size, **fields)


def test_from_protobuf():
    signature = Signature.from_protobuf(identity_metadata(8), identity_config(8))
    assert signature == Signature(
        "identity",
        "1",
        "python",
        (Tensor("INPUT0", "FP32", (-1, 16)),),
        (Tensor("OUTPUT0", "FP32", (-1, 16)),),
        8,
    )


def test_version_is_the_one_asked_for_or_the_highest():
    metadata = identity_metadata()
    metadata.versions[:] = ["2", "10", "x", "9"]
    config = identity_config()
    assert Signature.from_protobuf(metadata, config).version == "10"
    assert Signature.from_protobuf(metadata, config, "2").version == "2"


def test_optional_and_decoupled_are_read():
    config = identity_config()
    config.input[0].optional = True
    config.model_transaction_policy.decoupled = True
    signature = Signature.from_protobuf(identity_metadata(), config)
    assert signature.inputs[0].optional
    assert signature.decoupled


@pytest.mark.parametrize(
    ("datatype", "shape", "elements", "size"),
    [
        ("FP32", (2, 3), 6, 24),
        ("BF16", (5,), 5, 10),
        ("BYTES", (5,), 5, None),
        ("INT64", (-1, 3), None, None),
        ("BOOL", (), 1, 1),
    ],
)
def test_counts(datatype, shape, elements, size):
    tensor = Tensor("x", datatype, shape)
    assert (tensor.element_count, tensor.byte_count) == (elements, size)


def test_every_datatype_of_the_protocol_is_known():
    in_config = {name.removeprefix("TYPE_") for name in DATATYPES}
    assert in_config - {"INVALID", "STRING"} | {"BYTES"} == set(ELEMENT_BYTES)


def add_input(metadata, name="x", datatype="FP32", shape=(-1, 1)):
    metadata.inputs.add(name=name, datatype=datatype, shape=shape)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda m: add_input(m, name="x" * 1025), "1025 bytes"),
        (lambda m: add_input(m, name=""), "without a name"),
        (lambda m: add_input(m, name="INPUT0"), "two inputs named 'INPUT0'"),
        (lambda m: add_input(m, datatype="FP8\x1b[2J"), r"unknown datatype 'FP8\[2J'"),
        (lambda m: add_input(m, datatype=""), "unknown datatype ''"),
        (lambda m: add_input(m, shape=[-1] * 17), "17 dimensions"),
        (lambda m: add_input(m, shape=[-1, 0]), "dimension 0"),
        (lambda m: add_input(m, shape=[-1, -2]), "dimension -2"),
        (lambda m: add_input(m, shape=[-1, 2**31]), "dimension 2147483648"),
        (lambda m: add_input(m, shape=[-1] + [2**30] * 15), "elements"),
        (lambda m: add_input(m, shape=[3]), "does not begin with the batch dimension"),
        (lambda m: add_input(m, shape=[]), "does not begin with the batch dimension"),
        (lambda m: [add_input(m, name=str(i)) for i in range(256)], "more than 256 inputs"),
        (lambda m: m.outputs.clear(), "no output"),
        (lambda m: m.versions.extend(["1"] * 1024), "1025 versions"),
        (lambda m: m.versions.append("1" * 2000), "2000 bytes"),
        (lambda m: setattr(m, "platform", "p" * 2000), "2000 bytes"),
    ],
)
def test_hostile_metadata(spoil, said):
    metadata = identity_metadata()
    spoil(metadata)
    with pytest.raises(NotStartedError, match=said) as caught:
        Signature.from_protobuf(metadata, identity_config())
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_hostile_config():
    config = identity_config()
    config.max_batch_size = -1
    with pytest.raises(NotStartedError, match="max_batch_size is -1"):
        Signature.from_protobuf(identity_metadata(), config)
    config = identity_config()
    for index in range(256):
        config.input.add(name=str(index))
    with pytest.raises(NotStartedError, match="257 inputs"):
        Signature.from_protobuf(identity_metadata(), config)


TENSORS = st.lists(
    st.tuples(
        st.text(max_size=5),
        st.sampled_from(["FP32", "BYTES", "", "X"]),
        st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-1, 1, 2**31 - 1])),
    ),
    max_size=4,
)


@given(TENSORS, TENSORS, st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 1]))
def test_any_metadata_gives_a_signature_or_one_line(inputs, outputs, max_batch_size):
    metadata = service_pb2.ModelMetadataResponse()
    for side, tensors in ((metadata.inputs, inputs), (metadata.outputs, outputs)):
        for name, datatype, shape in tensors:
            side.add(name=name, datatype=datatype, shape=shape)
    config = model_config_pb2.ModelConfig(max_batch_size=max_batch_size)
    line = ""
    try:
        signature = Signature.from_protobuf(metadata, config)
        assert len(signature.inputs) == len(inputs)
        assert signature.difference(signature) is None
    except NotStartedError as error:
        line = str(error)
    assert line == "" or line.isprintable()


A = Tensor("A", "FP32", (-1, 3))
B = Tensor("B", "INT8", (2,))


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        (signature_of([A, B], [A]), signature_of([B, A], [A]), None),
        (signature_of([A], [A], 0), signature_of([A], [A], 8), None),
        (signature_of([A, B], [A]), signature_of([A], [A]), "input 'B' is missing"),
        (signature_of([A], [A]), signature_of([A], [A, B]), "output 'B' is additional"),
        (
            signature_of([A], [A]),
            signature_of([Tensor("A", "FP16", (-1, 3))], [A]),
            "input 'A' is FP16[-1,3] instead of FP32[-1,3]",
        ),
        (
            signature_of([A], [A]),
            signature_of([A], [Tensor("A", "FP32", (-1, 4))]),
            "output 'A' is FP32[-1,4] instead of FP32[-1,3]",
        ),
    ],
)
def test_difference(mine, theirs, said):
    assert mine.difference(theirs) == said
