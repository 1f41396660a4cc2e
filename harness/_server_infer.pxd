"""ModelInferRequest read straight on protobuf's wire format.

Tensors travel as raw contents only. Lengths and shapes come from the client and are checked
before use; a Request points into the message it was read from.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy

cdef enum:
    MAX_TENSORS = 32
    MAX_RANK = 16
    NAME_BYTES = 128
    MESSAGE_BYTES = 256
    GRPC_PREFIX_BYTES = 5

    STATUS_OK = 0
    STATUS_INVALID_ARGUMENT = 3
    STATUS_NOT_FOUND = 5

cdef struct Span:
    const uint8_t *at
    size_t length

cdef struct Tensor:
    uint8_t name[NAME_BYTES]
    size_t name_length
    uint8_t datatype[16]
    size_t datatype_length
    size_t item_bytes  # 0: BYTES, every element with a length of its own
    int rank
    int64_t dims[MAX_RANK]  # without the batch dimension; -1 is dynamic
    int echoes  # outputs: the input whose shape and bytes come back, -1 for zeros

cdef struct Model:
    uint8_t name[NAME_BYTES]
    size_t name_length
    int max_batch  # 0: no batch dimension
    int input_count
    int output_count
    Tensor inputs[MAX_TENSORS]
    Tensor outputs[MAX_TENSORS]
    uint64_t max_output_bytes  # of one tensor of zeros
    uint8_t preamble[NAME_BYTES + 16]  # model_name and model_version, encoded
    size_t preamble_length

cdef struct RequestTensor:
    int declared  # index in Model.inputs
    int rank
    int64_t dims[MAX_RANK]
    Span raw

cdef struct Request:
    Span id
    Span model_name
    Span model_version
    int input_count
    int raw_count
    RequestTensor inputs[MAX_TENSORS]
    Span raws[MAX_TENSORS]
    int position[MAX_TENSORS]  # of declared input i in `inputs`, -1 if absent
    int output_count  # 0: all
    int outputs[MAX_TENSORS]
    int64_t batch
    int status
    char message[MESSAGE_BYTES]  # why status is not OK

cdef struct Field:
    uint64_t number
    int wire_type
    uint64_t value
    Span span


cdef inline int read_varint(const uint8_t **cursor, const uint8_t *end,
                            uint64_t *value) noexcept nogil:
    cdef const uint8_t *at = cursor[0]
    cdef uint64_t result = 0
    cdef int shift = 0
    while at < end and shift < 70:
        result |= <uint64_t>(at[0] & 0x7f) << (shift & 63)
        if at[0] < 0x80:
            cursor[0] = at + 1
            value[0] = result
            return 0
        at += 1
        shift += 7
    return -1


cdef inline int read_field(const uint8_t **cursor, const uint8_t *end,
                           Field *field) noexcept nogil:
    """The next field; -1 if the message is cut off or uses groups."""
    cdef uint64_t tag, length
    cdef size_t fixed
    if read_varint(cursor, end, &tag) < 0:
        return -1
    field.number = tag >> 3
    field.wire_type = <int>(tag & 7)
    if field.number == 0:
        return -1
    if field.wire_type == 0:
        return read_varint(cursor, end, &field.value)
    if field.wire_type == 2:
        if read_varint(cursor, end, &length) < 0 or length > <uint64_t>(end - cursor[0]):
            return -1
        field.span.at = cursor[0]
        field.span.length = length
        cursor[0] += length
        return 0
    if field.wire_type == 1 or field.wire_type == 5:
        fixed = 8 if field.wire_type == 1 else 4
        if fixed > <size_t>(end - cursor[0]):
            return -1
        cursor[0] += fixed
        return 0
    return -1


cdef inline bint span_is(const Span *span, const uint8_t *text, size_t length) noexcept nogil:
    return span.length == length and memcmp(span.at, text, length) == 0


cdef inline int printable(const Span *span) noexcept nogil:
    """How much of a client's string goes into a message."""
    return <int>span.length if span.length < 64 else 64


cdef inline int read_shape(const Field *field, RequestTensor *tensor) noexcept nogil:
    cdef const uint8_t *at = field.span.at
    cdef const uint8_t *end
    cdef uint64_t value
    if field.wire_type == 0:
        if tensor.rank == MAX_RANK:
            return -1
        tensor.dims[tensor.rank] = <int64_t>field.value
        tensor.rank += 1
        return 0
    if field.wire_type != 2:
        return -1
    end = at + field.span.length
    while at < end:
        if tensor.rank == MAX_RANK or read_varint(&at, end, &value) < 0:
            return -1
        tensor.dims[tensor.rank] = <int64_t>value
        tensor.rank += 1
    return 0


cdef inline bint asks_for_shared_memory(const Span *entry) noexcept nogil:
    """Whether a parameter (a map entry) has the key of the shared-memory extension."""
    cdef const uint8_t *at = entry.at
    cdef const uint8_t *end = at + entry.length
    cdef Field field
    while at < end:
        if read_field(&at, end, &field) < 0:
            return False
        if field.number == 1 and field.wire_type == 2:
            return span_is(&field.span, b"shared_memory_region", 20)
    return False


cdef inline int refuse(Request *request, int status) noexcept nogil:
    request.status = status
    return -1


cdef inline int malformed(Request *request) noexcept nogil:
    snprintf(request.message, MESSAGE_BYTES, b"malformed ModelInferRequest")
    return refuse(request, STATUS_INVALID_ARGUMENT)


cdef inline int no_shared_memory(Request *request) noexcept nogil:
    snprintf(request.message, MESSAGE_BYTES, b"this server has no shared-memory extension")
    return refuse(request, STATUS_INVALID_ARGUMENT)


cdef inline int find_tensor(const Tensor *tensors, int count, int guess,
                            const Span *name) noexcept nogil:
    cdef int i
    if guess < count and span_is(name, tensors[guess].name, tensors[guess].name_length):
        return guess
    for i in range(count):
        if span_is(name, tensors[i].name, tensors[i].name_length):
            return i
    return -1


cdef inline int read_input(const Model *model, const Span *message,
                           Request *request) noexcept nogil:
    cdef const uint8_t *at = message.at
    cdef const uint8_t *end = at + message.length
    cdef RequestTensor *tensor
    cdef Span name, datatype
    cdef Field field
    cdef bint typed = False
    name.at = datatype.at = at
    name.length = datatype.length = 0
    if request.input_count == MAX_TENSORS:
        return malformed(request)
    tensor = &request.inputs[request.input_count]
    tensor.rank = 0
    while at < end:
        if read_field(&at, end, &field) < 0:
            return malformed(request)
        if field.number == 3:
            if read_shape(&field, tensor) < 0:
                return malformed(request)
        elif field.wire_type != 2:
            continue
        elif field.number == 1:
            name = field.span
        elif field.number == 2:
            datatype = field.span
        elif field.number == 4 and asks_for_shared_memory(&field.span):
            return no_shared_memory(request)
        elif field.number == 5:
            typed = True
    tensor.declared = find_tensor(model.inputs, model.input_count, request.input_count, &name)
    if tensor.declared < 0 or request.position[tensor.declared] >= 0:
        snprintf(request.message, MESSAGE_BYTES,
                 b"unexpected inference input '%.*s' for model '%.*s'",
                 printable(&name), <const char *>name.at, <int>model.name_length,
                 <const char *>model.name)
        return refuse(request, STATUS_INVALID_ARGUMENT)
    if typed:
        snprintf(request.message, MESSAGE_BYTES,
                 b"input '%.*s' has typed contents; send raw_input_contents",
                 printable(&name), <const char *>name.at)
        return refuse(request, STATUS_INVALID_ARGUMENT)
    if not span_is(&datatype, model.inputs[tensor.declared].datatype,
                   model.inputs[tensor.declared].datatype_length):
        snprintf(request.message, MESSAGE_BYTES,
                 b"inference input '%.*s' data-type is '%.*s', but model '%.*s' expects '%.*s'",
                 printable(&name), <const char *>name.at, printable(&datatype),
                 <const char *>datatype.at, <int>model.name_length, <const char *>model.name,
                 <int>model.inputs[tensor.declared].datatype_length,
                 <const char *>model.inputs[tensor.declared].datatype)
        return refuse(request, STATUS_INVALID_ARGUMENT)
    request.position[tensor.declared] = request.input_count
    request.input_count += 1
    return 0


cdef inline int read_output(const Model *model, const Span *message,
                            Request *request) noexcept nogil:
    cdef const uint8_t *at = message.at
    cdef const uint8_t *end = at + message.length
    cdef Field field
    cdef Span name
    cdef int declared, i
    name.at = at
    name.length = 0
    while at < end:
        if read_field(&at, end, &field) < 0:
            return malformed(request)
        if field.number == 1 and field.wire_type == 2:
            name = field.span
        elif field.number == 2 and field.wire_type == 2 and asks_for_shared_memory(&field.span):
            return no_shared_memory(request)
    declared = find_tensor(model.outputs, model.output_count, request.output_count, &name)
    if declared < 0:
        snprintf(request.message, MESSAGE_BYTES,
                 b"unexpected inference output '%.*s' for model '%.*s'",
                 printable(&name), <const char *>name.at, <int>model.name_length,
                 <const char *>model.name)
        return refuse(request, STATUS_INVALID_ARGUMENT)
    for i in range(request.output_count):
        if request.outputs[i] == declared:
            return 0
    request.outputs[request.output_count] = declared
    request.output_count += 1
    return 0


cdef inline int check_input(const Model *model, RequestTensor *tensor,
                            Request *request) noexcept nogil:
    """Shape against the declared one, length of the raw contents against the shape."""
    cdef const Tensor *declared = &model.inputs[tensor.declared]
    cdef int lead = 1 if model.max_batch > 0 else 0
    cdef bint fits = tensor.rank == declared.rank + lead
    cdef uint64_t items = 1
    cdef int i
    if fits:
        for i in range(tensor.rank):
            if tensor.dims[i] < 0 or tensor.dims[i] > (<int64_t>1 << 32):
                fits = False
                break
            if i >= lead and declared.dims[i - lead] not in (-1, tensor.dims[i]):
                fits = False
                break
            items *= <uint64_t>tensor.dims[i]
            if items > (<uint64_t>1 << 40):
                fits = False
                break
    if fits and lead:
        if not 1 <= tensor.dims[0] <= model.max_batch:
            fits = False
        elif request.batch not in (0, tensor.dims[0]):
            fits = False
        else:
            request.batch = tensor.dims[0]
    if not fits:
        snprintf(request.message, MESSAGE_BYTES,
                 b"unexpected shape for input '%.*s' for model '%.*s'",
                 <int>declared.name_length, <const char *>declared.name,
                 <int>model.name_length, <const char *>model.name)
        return refuse(request, STATUS_INVALID_ARGUMENT)
    if declared.item_bytes and tensor.raw.length != items * declared.item_bytes:
        snprintf(request.message, MESSAGE_BYTES,
                 b"input '%.*s' has %zu bytes of raw contents, its shape needs %llu",
                 <int>declared.name_length, <const char *>declared.name, tensor.raw.length,
                 <unsigned long long>(items * declared.item_bytes))
        return refuse(request, STATUS_INVALID_ARGUMENT)
    return 0


cdef inline int read_request(const Model *model, const uint8_t *message, size_t length,
                             Request *request) noexcept nogil:
    """Reads and checks a request; -1 with `status` and `message` set if it is refused.

    `id` is set whenever the message could be read that far.
    """
    cdef const uint8_t *at = message
    cdef const uint8_t *end = message + length
    cdef Field field
    cdef int i
    request.status = STATUS_OK
    request.id.at = request.model_name.at = request.model_version.at = message
    request.id.length = request.model_name.length = request.model_version.length = 0
    request.input_count = request.raw_count = request.output_count = 0
    request.batch = 0
    for i in range(model.input_count):
        request.position[i] = -1
    while at < end:
        if read_field(&at, end, &field) < 0:
            return malformed(request)
        if field.wire_type != 2:
            continue
        if field.number == 1:
            request.model_name = field.span
        elif field.number == 2:
            request.model_version = field.span
        elif field.number == 3:
            request.id = field.span
        elif field.number == 5:
            if request.status == STATUS_OK:
                read_input(model, &field.span, request)
        elif field.number == 6:
            if request.status == STATUS_OK:
                read_output(model, &field.span, request)
        elif field.number == 7:
            if request.raw_count < MAX_TENSORS:
                request.raws[request.raw_count] = field.span
            request.raw_count += 1
    if not span_is(&request.model_name, model.name, model.name_length):
        snprintf(request.message, MESSAGE_BYTES,
                 b"Request for unknown model: '%.*s' is not found",
                 printable(&request.model_name), <const char *>request.model_name.at)
        return refuse(request, STATUS_NOT_FOUND)
    if request.model_version.length and not span_is(&request.model_version, b"1", 1):
        snprintf(request.message, MESSAGE_BYTES,
                 b"Request for unknown model: '%.*s' version %.*s is not found",
                 printable(&request.model_name), <const char *>request.model_name.at,
                 printable(&request.model_version), <const char *>request.model_version.at)
        return refuse(request, STATUS_NOT_FOUND)
    if request.status != STATUS_OK:
        return -1
    if request.input_count != model.input_count:
        snprintf(request.message, MESSAGE_BYTES,
                 b"expected %d inputs but got %d inputs for model '%.*s'",
                 model.input_count, request.input_count, <int>model.name_length,
                 <const char *>model.name)
        return refuse(request, STATUS_INVALID_ARGUMENT)
    if request.raw_count != request.input_count:
        snprintf(request.message, MESSAGE_BYTES,
                 b"expected %d raw_input_contents but got %d",
                 request.input_count, request.raw_count)
        return refuse(request, STATUS_INVALID_ARGUMENT)
    for i in range(request.input_count):
        request.inputs[i].raw = request.raws[i]
        if check_input(model, &request.inputs[i], request) < 0:
            return -1
    return 0
