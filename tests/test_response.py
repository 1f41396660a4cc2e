import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from harness._response import ResponseReader, request_id

SLOT = 0x1234ABCDEF
ID = b"s" + b"00000" + b"1234abcdef"
LIMIT_BYTES = 4096


def shallow_message():
    """The top level of a ModelInferResponse alone: nested messages and texts stay bytes."""
    proto = descriptor_pb2.FileDescriptorProto(name="shallow.proto", syntax="proto2")
    message = proto.message_type.add(name="Shallow")
    field = descriptor_pb2.FieldDescriptorProto
    for name, number, label in (
        ("id", 3, field.LABEL_OPTIONAL),
        ("outputs", 5, field.LABEL_REPEATED),
    ):
        message.field.add(name=name, number=number, label=label, type=field.TYPE_BYTES)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Shallow"))


Shallow = shallow_message()

IDS = st.one_of(
    st.just(ID.decode()),
    st.sampled_from(
        ["", ID.decode()[:-1], ID.decode() + "0", ID.decode().upper(), "w" + ID.decode()[1:]]
    ),
    st.text(max_size=20),
)


@st.composite
def responses(draw):
    response = service_pb2.ModelInferResponse(
        model_name=draw(st.text(max_size=20)),
        model_version=draw(st.text(max_size=3)),
        id=draw(IDS),
    )
    for name in draw(st.lists(st.text(max_size=5), max_size=3, unique=True)):
        response.parameters[name].int64_param = draw(st.integers(-(2**63), 2**63 - 1))
    for _ in range(draw(st.integers(0, 4))):
        output = response.outputs.add(name=draw(st.text(max_size=200)), datatype="FP32")
        output.shape.extend(draw(st.lists(st.integers(-1, 2**40), max_size=3)))
        output.contents.fp32_contents.extend(draw(st.lists(st.floats(width=32), max_size=3)))
    response.raw_output_contents.extend(draw(st.lists(st.binary(max_size=300), max_size=4)))
    return response


def framed(message, compressed=0):
    return bytes([compressed]) + len(message).to_bytes(4, "big") + message


def read(data, cuts=(), limit_bytes=LIMIT_BYTES):
    reader = ResponseReader("s", SLOT, limit_bytes)
    first = 0
    for cut in [*sorted(cuts), len(data)]:
        last = min(max(cut, first), len(data))
        reader.feed(data[first:last])
        first = last
    return reader


def verdict(reader):
    return reader.complete, reader.has_id, reader.outputs, reader.too_large


@settings(max_examples=300)
@given(responses(), st.lists(st.integers(0, 600), max_size=8))
def test_any_response_cut_anywhere_is_read(response, cuts):
    message = response.SerializeToString()
    assume(len(message) <= LIMIT_BYTES)
    reader = read(framed(message), cuts)
    assert reader.complete
    assert reader.has_id == (response.id == ID.decode())
    assert reader.outputs == len(response.outputs)
    assert not reader.too_large


@given(responses())
def test_byte_by_byte_it_is_complete_at_the_last_byte_alone(response):
    response.model_version = "1"
    data = framed(response.SerializeToString())
    reader = ResponseReader("s", SLOT, 1 << 20)
    for position in range(len(data)):
        assert not reader.complete
        assert reader.feed(data[position : position + 1])
    assert reader.complete


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["change", "insert", "delete"]),
        st.integers(0, 200),
        st.one_of(st.integers(0, 255), st.sampled_from([0x1A, 0x2A, 0x10, 0x80, 0xFF])),
    ),
    min_size=1,
    max_size=4,
)


def edited(message, edits):
    message = bytearray(message)
    for kind, position, byte in edits:
        at = position % (len(message) + 1)
        if kind == "insert" or at == len(message):
            message.insert(at, byte)
        elif kind == "delete":
            del message[at]
        else:
            message[at] = byte
    return bytes(message)


def assert_as_protobuf_has_it(message, cuts=()):
    """A message that counts as complete with its id is one for protobuf too, with that id."""
    reader = read(framed(message), cuts)
    try:
        shallow = Shallow.FromString(message)
    except DecodeError:
        assert not (reader.complete and reader.has_id)
        return
    if reader.complete:
        assert reader.has_id == (shallow.id == ID)
        assert reader.outputs == len(shallow.outputs)


@settings(max_examples=1000)
@given(responses(), EDITS, st.lists(st.integers(0, 300), max_size=3))
def test_damaged_messages_are_never_more_than_protobuf_makes_of_them(response, edits, cuts):
    response.id = ID.decode()
    message = edited(response.SerializeToString(), edits)
    assume(len(message) <= LIMIT_BYTES)
    assert_as_protobuf_has_it(message, cuts)


ID_FIELD = b"\x1a\x10" + ID


@settings(max_examples=500)
@given(
    st.lists(st.one_of(st.binary(max_size=12), st.just(ID_FIELD), st.just(b"\x2a\x00")), max_size=6)
)
@example([ID_FIELD, b"\x9a\x80\x80\x80\x80\x00\x00"])
@example([ID_FIELD, b"\x80\x80\x80\x80\x10\x00"])
@example([ID_FIELD, b"\xfa\xff\xff\xff\xff\x0f\x00"])
@example([ID_FIELD, b"\x2a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"])
@example([ID_FIELD, b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"])
@example([ID_FIELD, ID_FIELD])
@example([ID_FIELD, b"\x1a\x00"])
@example([ID_FIELD, b"\x13\x14"])
@example([ID_FIELD, b"\x14"])
@example([ID_FIELD, b"\x18\x01"])
@example([ID_FIELD, b"\x28\x01"])
def test_any_bytes_are_never_more_than_protobuf_makes_of_them(pieces):
    assert_as_protobuf_has_it(b"".join(pieces))


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_stream_ends_in_the_same_verdict_however_it_is_cut(data, cuts):
    assert verdict(read(data, cuts)) == verdict(read(data))


@given(responses(), st.integers(0, 4000))
def test_a_cut_off_response_is_not_complete(response, cut):
    response.model_version = "1"
    data = framed(response.SerializeToString())
    assert not read(data[: cut % len(data)], limit_bytes=1 << 20).complete


@given(responses(), st.binary(min_size=1, max_size=10))
def test_whatever_follows_the_message_spoils_it(response, more):
    response.id = ID.decode()
    data = framed(response.SerializeToString())
    reader = read(data, limit_bytes=1 << 20)
    assert reader.complete
    assert not reader.feed(more)
    assert not reader.complete


def test_a_second_message_spoils_the_first():
    data = framed(ID_FIELD)
    for cuts in ((), (len(data),)):
        assert not read(data + data, cuts).complete


def test_a_compressed_message_is_none():
    reader = ResponseReader("s", SLOT, LIMIT_BYTES)
    assert not reader.feed(framed(ID_FIELD, compressed=1))
    assert verdict(reader) == (False, False, 0, False)
    assert not reader.feed(b"")
    assert not reader.feed(framed(ID_FIELD))


def test_the_limit_is_the_largest_message():
    assert read(framed(ID_FIELD), limit_bytes=len(ID_FIELD)).complete
    reader = ResponseReader("s", SLOT, len(ID_FIELD) - 1)
    assert not reader.feed(framed(ID_FIELD)[:5])
    assert reader.too_large
    assert not reader.complete


def test_a_limit_of_nothing_allows_the_empty_message():
    reader = read(framed(b""), limit_bytes=0)
    assert verdict(reader) == (True, False, 0, False)


def test_the_longest_length_there_is():
    assert read(b"\0\xff\xff\xff\xff", limit_bytes=2**32 - 2).too_large
    reader = ResponseReader("s", SLOT, 2**32 - 1)
    assert reader.feed(b"\0\xff\xff\xff\xff")
    assert reader.feed(ID_FIELD)
    assert reader.has_id
    assert not reader.complete


def test_an_empty_message_is_complete_without_an_id():
    assert verdict(read(framed(b""))) == (True, False, 0, False)


def test_more_outputs_than_can_be_counted():
    assert read(framed(b"\x2a\x00" * 70_000), limit_bytes=1 << 20).outputs == 65535


@given(st.integers(0, 2**60 - 1), st.characters(codec="ascii").filter(lambda c: c != "\0"))
def test_request_ids(slot, prefix):
    text = request_id(prefix, slot).decode()
    assert len(text) == 16
    assert (text[0], int(text[1:], 16)) == (prefix, slot)
    assert text[1:] == text[1:].lower()
    response = service_pb2.ModelInferResponse(id=text)
    reader = ResponseReader(prefix, slot, LIMIT_BYTES)
    assert reader.feed(framed(response.SerializeToString()))
    assert reader.complete
    assert reader.has_id


@pytest.mark.parametrize(
    ("prefix", "slot"), [("", 1), ("ab", 1), ("é", 1), ("\0", 1), ("s", -1), ("s", 2**60)]
)
def test_no_request_id(prefix, slot):
    with pytest.raises(ValueError, match="no request id"):
        request_id(prefix, slot)
