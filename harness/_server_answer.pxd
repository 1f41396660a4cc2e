"""ModelInferResponse written straight on protobuf's wire format, from the request it answers."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy

from harness._server_infer cimport (
    GRPC_PREFIX_BYTES, MAX_RANK, MAX_TENSORS, MESSAGE_BYTES, NAME_BYTES,
    STATUS_INVALID_ARGUMENT, Model, Request, RequestTensor, Tensor, refuse,
)

cdef struct Segment:
    const uint8_t *at  # NULL: zeros
    size_t length


cdef inline uint8_t *put_varint(uint8_t *at, uint64_t value) noexcept nogil:
    while value >= 0x80:
        at[0] = <uint8_t>(value | 0x80)
        at += 1
        value >>= 7
    at[0] = <uint8_t>value
    return at + 1


cdef inline size_t varint_bytes(uint64_t value) noexcept nogil:
    cdef size_t n = 1
    while value >= 0x80:
        value >>= 7
        n += 1
    return n


cdef inline uint8_t *put_bytes(uint8_t *at, uint8_t tag, const uint8_t *data,
                               size_t length) noexcept nogil:
    at[0] = tag
    at = put_varint(at + 1, length)
    memcpy(at, data, length)
    return at + length


cdef inline size_t response_head_bytes(const Model *model, const Request *request) noexcept nogil:
    """Upper bound of what write_response puts into `head`."""
    return (GRPC_PREFIX_BYTES + model.preamble_length + 11 + request.id.length
            + <size_t>model.output_count * (NAME_BYTES + 16 + 10 * (MAX_RANK + 1) + 48))


cdef inline uint64_t output_shape(const Model *model, const Request *request,
                                  const Tensor *output, int64_t *dims,
                                  int *rank) noexcept nogil:
    """Fills shape and rank of an output of zeros; its size in bytes."""
    cdef const RequestTensor *first = &request.inputs[request.position[0]]
    cdef int lead = 1 if model.max_batch > 0 else 0
    cdef uint64_t total = output.item_bytes if output.item_bytes else 4
    cdef int i
    rank[0] = output.rank + lead
    if lead:
        dims[0] = request.batch
    for i in range(output.rank):
        dims[i + lead] = output.dims[i]
        if output.dims[i] < 0:
            dims[i + lead] = first.dims[i + lead] if i + lead < first.rank else 1
    for i in range(rank[0]):
        total *= <uint64_t>dims[i]
        if total > model.max_output_bytes:
            return total
    return total


cdef inline int write_response(const Model *model, Request *request, uint8_t *head,
                               Segment *segments, size_t *total_bytes) noexcept nogil:
    """Encodes the answer as segments of `head` and of the request's own raw contents.

    `segments` has room for 2 * output_count entries; returns how many were filled, or -1 with
    the request refused. The gRPC prefix is included.
    """
    cdef uint8_t *at = head + GRPC_PREFIX_BYTES
    cdef uint8_t *start = head
    cdef int count = request.output_count if request.output_count else model.output_count
    cdef Segment raws[MAX_TENSORS]
    cdef const Tensor *output
    cdef RequestTensor *source
    cdef int64_t dims_of_zeros[MAX_RANK + 1]
    cdef int64_t *dims
    cdef int rank, i, k, used = 0
    cdef size_t shape_bytes, message_bytes
    cdef uint64_t total
    memcpy(at, model.preamble, model.preamble_length)
    at += model.preamble_length
    if request.id.length:
        at = put_bytes(at, 0x1a, request.id.at, request.id.length)
    for i in range(count):
        output = &model.outputs[request.outputs[i] if request.output_count else i]
        if output.echoes >= 0:
            source = &request.inputs[request.position[output.echoes]]
            dims = source.dims
            rank = source.rank
            raws[i].at = source.raw.at
            raws[i].length = source.raw.length
        else:
            total = output_shape(model, request, output, dims_of_zeros, &rank)
            if total > model.max_output_bytes:
                snprintf(request.message, MESSAGE_BYTES, b"output '%.*s' would be too large",
                         <int>output.name_length, <const char *>output.name)
                return refuse(request, STATUS_INVALID_ARGUMENT)
            dims = dims_of_zeros
            raws[i].at = NULL
            raws[i].length = total
        shape_bytes = 0
        for k in range(rank):
            shape_bytes += varint_bytes(<uint64_t>dims[k])
        message_bytes = (2 * 1 + varint_bytes(output.name_length) + output.name_length
                         + varint_bytes(output.datatype_length) + output.datatype_length)
        if rank:
            message_bytes += 1 + varint_bytes(shape_bytes) + shape_bytes
        at[0] = 0x2a
        at = put_varint(at + 1, message_bytes)
        at = put_bytes(at, 0x0a, output.name, output.name_length)
        at = put_bytes(at, 0x12, output.datatype, output.datatype_length)
        if rank:
            at[0] = 0x1a
            at = put_varint(at + 1, shape_bytes)
            for k in range(rank):
                at = put_varint(at, <uint64_t>dims[k])
    total = 0
    for i in range(count):
        at[0] = 0x32
        at = put_varint(at + 1, raws[i].length)
        segments[used].at = start
        segments[used].length = at - start
        total += segments[used].length + raws[i].length
        used += 1
        start = at
        if raws[i].length:
            segments[used] = raws[i]
            used += 1
    total_bytes[0] = total
    total -= GRPC_PREFIX_BYTES
    head[0] = 0
    head[1] = <uint8_t>(total >> 24)
    head[2] = <uint8_t>(total >> 16)
    head[3] = <uint8_t>(total >> 8)
    head[4] = <uint8_t>total
    return used
