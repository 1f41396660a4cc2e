"""A request's way through the server: checked, queued, served, answered."""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport malloc

from harness._server_answer cimport Segment, response_head_bytes, write_response
from harness._server_infer cimport (
    GRPC_PREFIX_BYTES,
    MAX_TENSORS,
    Request,
    read_request,
)
from harness._server_journal cimport journal_append
from harness._server_service cimport Due, heap_pop, heap_push, latency_draw, random_unit
from harness._server_state cimport (
    ACTION_ERROR,
    ACTION_HANG,
    ACTION_LATENCY,
    INVALID_ARGUMENT,
    MAX_HEADER_BYTES,
    MAX_PENDING,
    METHOD_INFER,
    RESOURCE_EXHAUSTED,
    UNIMPLEMENTED,
    Counters,
    Engine,
    Phase,
    Stream,
)
from harness._server_stream cimport (
    mark_dirty,
    respond_message,
    respond_status,
    stream_release,
    stream_reserve_head,
)
from harness.includes.linux cimport ENOMEM, clock_ns


cdef inline int finish(Engine *engine, Stream *stream, int64_t due_ns) noexcept nogil:
    """Service is over at `due_ns`: counts the request and answers whoever still listens."""
    cdef Counters *counters = &engine.counters
    cdef int rc = 0
    counters.inferences += stream.batch
    counters.executions += 1
    counters.succeeded += 1
    counters.succeeded_ns += due_ns - stream.arrival_ns
    counters.queue_ns += stream.start_ns - stream.arrival_ns
    counters.compute_ns += due_ns - stream.start_ns
    counters.last_ns = due_ns
    engine.pending_count -= 1
    stream.pending = False
    if stream.conn == NULL:
        stream_release(engine, stream)
    else:
        mark_dirty(stream.conn)
        rc = respond_message(stream)
    return rc


cdef inline int start_service(Engine *engine, Stream *stream, int64_t at_ns) noexcept nogil:
    stream.start_ns = at_ns
    if heap_push(&engine.heap, at_ns + stream.service_ns, stream) < 0:
        engine.error = ENOMEM
        engine.error_text = b"no memory for a pending request"
        return -1
    return 0


cdef inline int complete_due(Engine *engine) noexcept nogil:
    """Ends every service due by now; a freed slot takes the queue's first at that same time."""
    cdef Due due
    cdef Stream *following
    while engine.heap.count and engine.heap.entries[0].due_ns <= engine.now_ns:
        due = heap_pop(&engine.heap)
        finish(engine, <Stream *>due.item, due.due_ns)
        following = engine.queue_first
        if following == NULL:
            engine.busy -= 1
            continue
        engine.queue_first = following.next
        following.next = NULL
        start_service(engine, following, due.due_ns)
    return 0


cdef inline int fail_request(Engine *engine, Stream *stream, int status,
                             const char *message) noexcept nogil:
    engine.counters.failed += 1
    engine.counters.failed_ns += clock_ns() - stream.arrival_ns
    return respond_status(stream, status, message)


cdef inline int start_script(Engine *engine) noexcept nogil:
    """The clock starts with the first request; states due at once hold for it already."""
    cdef int i
    engine.script_start_ns = engine.now_ns
    for i in range(engine.phase_count):
        if engine.phases[i].at_ns == 0 and engine.phases[i].action <= ACTION_HANG:
            engine.phase = engine.phases[i]
    return 0


cdef inline bint prepares(const Request *request) noexcept nogil:
    """Whether the id is that of a probe or of warm-up, which come before a run."""
    return (request.id.length == 16
            and (request.id.at[0] == b"p" or request.id.at[0] == b"w"))


cdef inline int infer(Engine *engine, Stream *stream) noexcept nogil:
    cdef Request *request = &engine.request
    cdef int refused, count
    cdef Phase *phase = &engine.phase
    stream.arrival_ns = engine.now_ns
    refused = read_request(&engine.model, stream.body + GRPC_PREFIX_BYTES,
                           stream.body_length - GRPC_PREFIX_BYTES, request)
    if engine.script_start_ns == 0 and not prepares(request):
        start_script(engine)
    if engine.journaling and journal_append(&engine.journal, request.id.at, request.id.length,
                                            engine.now_ns) < 0:
        engine.error = engine.journal.error
        engine.error_text = b"the journal cannot be written"
    if refused:
        return fail_request(engine, stream, request.status, request.message)
    if phase.action == ACTION_ERROR and random_unit(&engine.random) < phase.share:
        return fail_request(engine, stream, phase.status, b"error asked for by the script")
    if engine.pending_count >= MAX_PENDING:
        return fail_request(engine, stream, RESOURCE_EXHAUSTED, b"too many requests pending")
    if stream_reserve_head(stream, response_head_bytes(&engine.model, request)) < 0:
        return fail_request(engine, stream, RESOURCE_EXHAUSTED, b"out of memory")
    if 2 * engine.model.output_count > stream.segments_room:
        stream.segments = <Segment *>malloc(2 * MAX_TENSORS * sizeof(Segment))
        if stream.segments == NULL:
            stream.segments = stream.segments_inline
            return fail_request(engine, stream, RESOURCE_EXHAUSTED, b"out of memory")
        stream.segments_room = 2 * MAX_TENSORS
    count = write_response(&engine.model, request, stream.head, stream.segments, &stream.left)
    if count < 0:
        return fail_request(engine, stream, request.status, request.message)
    stream.batch = <int32_t>request.batch if request.batch else 1
    stream.service_ns = latency_draw(&engine.latency, &engine.random)
    if phase.action == ACTION_LATENCY and random_unit(&engine.random) < phase.share:
        stream.service_ns = phase.latency_ns
    stream.pending = True
    engine.pending_count += 1
    if engine.capacity and engine.busy >= engine.capacity:
        if engine.queue_first == NULL:
            engine.queue_first = stream
        else:
            engine.queue_last.next = stream
        engine.queue_last = stream
        return 0
    if stream.service_ns == 0 and phase.action != ACTION_HANG:
        stream.start_ns = stream.arrival_ns
        return finish(engine, stream, stream.arrival_ns)
    engine.busy += 1
    return start_service(engine, stream, stream.arrival_ns)


cdef inline int request_complete(Engine *engine, Stream *stream) noexcept nogil:
    cdef size_t announced
    if stream.answered:
        return 0
    if stream.header_bytes > MAX_HEADER_BYTES:
        return respond_status(stream, RESOURCE_EXHAUSTED, b"headers are too large")
    if stream.too_large:
        return respond_status(stream, RESOURCE_EXHAUSTED, b"the request is too large")
    if stream.body_length < GRPC_PREFIX_BYTES:
        return respond_status(stream, INVALID_ARGUMENT, b"the request has no gRPC message")
    if stream.body[0]:
        return respond_status(stream, UNIMPLEMENTED, b"compressed messages are not supported")
    announced = ((<size_t>stream.body[1] << 24) | (<size_t>stream.body[2] << 16)
                 | (<size_t>stream.body[3] << 8) | stream.body[4])
    if announced != stream.body_length - GRPC_PREFIX_BYTES:
        return respond_status(stream, INVALID_ARGUMENT,
                              b"the request is not one whole gRPC message")
    if stream.method == METHOD_INFER:
        return infer(engine, stream)
    return engine.control(engine, stream)
