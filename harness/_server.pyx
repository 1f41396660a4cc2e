# cython: autotestdict=False, auto_pickle=False
"""An inference server for tests and self-measurement: epoll, nghttp2, one thread."""

import os
import socket

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.signal cimport kill

from harness._server_answer cimport put_bytes
from harness._server_connection cimport (
    connection_close,
    connection_flush,
    connection_open,
    connection_read,
    drain_finally,
)
from harness._server_faults cimport listener_open, script_advance
from harness._server_infer cimport (
    GRPC_PREFIX_BYTES,
    MAX_TENSORS,
    NAME_BYTES,
    Model,
    Tensor,
)
from harness._server_journal cimport journal_close, journal_open
from harness._pool cimport pool_empty, pool_functions
from harness._server_request cimport complete_due
from harness._server_session cimport (
    data_frame_bytes,
    on_begin_headers,
    on_data_chunk,
    on_frame_recv,
    on_frame_send,
    on_header,
    on_stream_close,
    send_data,
)
from harness._server_state cimport *
from harness._server_stream cimport (
    constant_field,
    mark_dirty,
    respond_message,
    respond_status,
    stream_reserve_head,
)
from harness.includes.linux cimport (
    EINTR,
    EMFILE,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    PR_SET_PDEATHSIG,
    PR_SET_TIMERSLACK,
    SIGKILL,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    accept4,
    clock_ns,
    close,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait_ns,
    errno,
    getpid,
    getppid,
    getsockname,
    prctl1,
    sockaddr,
)
from harness.includes.nghttp2 cimport *

ACTIONS = {
    "OK": ACTION_OK,
    "LATENCY": ACTION_LATENCY,
    "ERROR": ACTION_ERROR,
    "HANG": ACTION_HANG,
    "REFUSE": ACTION_REFUSE,
    "GOAWAY": ACTION_GOAWAY,
    "GOAWAY_ABRUPT": ACTION_GOAWAY_ABRUPT,
    "RESET": ACTION_RESET,
    "HALFCLOSE": ACTION_HALFCLOSE,
    "GARBAGE": ACTION_GARBAGE,
}


cdef int respond_control(Engine *engine, Stream *stream) noexcept with gil:
    """Lets the Python handler answer; what it raises becomes INTERNAL."""
    cdef bytes payload
    cdef const char *data
    cdef size_t length
    try:
        server = <Server>engine.owner
        name = engine.control_methods[stream.method - METHOD_CONTROL].decode()
        message = (<char *>stream.body)[GRPC_PREFIX_BYTES:stream.body_length]
        status, payload = server.handler(name, message)
        if status != OK:
            return respond_status(stream, status, payload)
        length = len(payload)
        if stream_reserve_head(stream, length + GRPC_PREFIX_BYTES) < 0:
            return respond_status(stream, RESOURCE_EXHAUSTED, b"out of memory")
        data = payload
        memcpy(stream.head + GRPC_PREFIX_BYTES, data, length)
        stream.head[0] = 0
        stream.head[1] = <uint8_t>(length >> 24)
        stream.head[2] = <uint8_t>(length >> 16)
        stream.head[3] = <uint8_t>(length >> 8)
        stream.head[4] = <uint8_t>length
        stream.left = length + GRPC_PREFIX_BYTES
        stream.segments[0].at = stream.head
        stream.segments[0].length = stream.left
        return respond_message(stream)
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"[:200].encode()
        return respond_status(stream, INTERNAL, text)


cdef int accept_connections(Engine *engine) noexcept nogil:
    cdef int fd, _
    for _ in range(ACCEPTS_PER_TURN):
        fd = accept4(engine.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            if errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                # Off the poller, or the waiting connection would keep the loop turning.
                listener_pause(engine)
            return 0
        if engine.connection_count >= engine.max_connections:
            close(fd)
            continue
        connection_open(engine, fd)
    return 0


cdef int listener_pause(Engine *engine) noexcept nogil:
    cdef epoll_event event
    event.events = 0
    event.data.ptr = NULL
    engine.accepting = False
    epoll_ctl(engine.poller, EPOLL_CTL_MOD, engine.listener, &event)
    if engine.reap_ns == 0 or engine.now_ns + LINGER_NS < engine.reap_ns:
        engine.reap_ns = engine.now_ns + LINGER_NS
    return 0


cdef int reap(Engine *engine) noexcept nogil:
    """Deadlines of connections that are being ended, and the listener's next try."""
    cdef Connection *conn = engine.connections
    cdef Connection *later
    cdef epoll_event event
    if engine.reap_ns == 0 or engine.now_ns < engine.reap_ns:
        return 0
    engine.reap_ns = 0
    if not engine.accepting and engine.listener >= 0:
        engine.accepting = True
        event.events = EPOLLIN
        event.data.ptr = NULL
        epoll_ctl(engine.poller, EPOLL_CTL_MOD, engine.listener, &event)
    while conn != NULL:
        later = conn.later
        if conn.deadline_ns and conn.deadline_ns <= engine.now_ns:
            if conn.draining:
                drain_finally(conn)
            else:
                connection_close(conn)
        elif conn.deadline_ns and (engine.reap_ns == 0 or conn.deadline_ns < engine.reap_ns):
            engine.reap_ns = conn.deadline_ns
        conn = later
    return 0


cdef int flush_all(Engine *engine) noexcept nogil:
    cdef Connection *conn
    while engine.dirty != NULL:
        conn = engine.dirty
        engine.dirty = conn.next_dirty
        conn.dirty = False
        if conn.fd >= 0 and connection_flush(conn) < 0:
            connection_close(conn)
    while engine.closed != NULL:
        conn = engine.closed
        engine.closed = conn.later
        free(conn.out)
        free(conn)
    return 0


cdef int64_t wait_limit_ns(Engine *engine) noexcept nogil:
    """How long nothing is due; -1: without end."""
    cdef int64_t due_ns = 0, next_ns
    if engine.reap_ns:
        due_ns = engine.reap_ns
    if engine.heap.count and engine.phase.action != ACTION_HANG:
        next_ns = engine.heap.entries[0].due_ns
        if due_ns == 0 or next_ns < due_ns:
            due_ns = next_ns
    if engine.phase.action == ACTION_HANG:
        due_ns = 0
    if engine.script_start_ns and engine.phase_next < engine.phase_count:
        next_ns = engine.script_start_ns + engine.phases[engine.phase_next].at_ns
        if due_ns == 0 or next_ns < due_ns:
            due_ns = next_ns
    if due_ns == 0:
        return -1
    return due_ns - engine.now_ns if due_ns > engine.now_ns else 0


cdef int serve_events(Engine *engine) noexcept nogil:
    """Serves until a wake-up, a signal or an error; 0, or -1 with `error` set."""
    cdef epoll_event events[EVENTS]
    cdef Connection *conn
    cdef int64_t limit_ns
    cdef int i, n
    while True:
        engine.now_ns = clock_ns()
        if script_advance(engine) < 0 or engine.error:
            return -1
        if engine.phase.action == ACTION_HANG:
            n = epoll_wait_ns(engine.wake_poller, events, 1, wait_limit_ns(engine))
            if n != 0:
                return 0
            continue
        reap(engine)
        complete_due(engine)
        flush_all(engine)
        limit_ns = 0 if engine.spin else wait_limit_ns(engine)
        n = epoll_wait_ns(engine.poller, events, EVENTS, limit_ns)
        if n < 0:
            if errno == EINTR:
                return 0
            engine.error = errno
            engine.error_text = b"epoll failed"
            return -1
        for i in range(n):
            if events[i].data.ptr == NULL:
                accept_connections(engine)
            elif events[i].data.ptr == engine:
                return 0
            else:
                conn = <Connection *>events[i].data.ptr
                if events[i].events & EPOLLOUT:
                    mark_dirty(conn)
                if events[i].events & ~<uint32_t>EPOLLOUT and connection_read(conn) < 0:
                    connection_close(conn)


cdef int copy_text(bytes text, uint8_t *target, size_t room, size_t *length) except -1:
    cdef const char *data = text
    cdef size_t size = len(text)
    if not 0 < size <= room:
        raise ValueError(f"a name must have 1 to {room} bytes, not {size}")
    length[0] = size
    memcpy(target, data, length[0])
    return 0


cdef int set_tensor(Tensor *tensor, spec) except -1:
    name, datatype, item_bytes, dims = spec
    copy_text(name.encode(), tensor.name, NAME_BYTES, &tensor.name_length)
    copy_text(datatype.encode(), tensor.datatype, 16, &tensor.datatype_length)
    tensor.item_bytes = item_bytes
    tensor.rank = len(dims)
    for i in range(tensor.rank):
        tensor.dims[i] = dims[i]
    return 0


cdef class Server:
    def __cinit__(self, *args, **kwargs):
        memset(&self.engine, 0, sizeof(Engine))
        self.engine.poller = self.engine.wake_poller = self.engine.listener = -1
        self.engine.journal.fd = -1

    def __init__(self, handler, *, host, port, name, inputs, outputs, max_batch, capacity,
                 latency, seed, script, journal, max_request_bytes, max_connections, spin):
        cdef Engine *engine = &self.engine
        if engine.owner != NULL:
            raise RuntimeError("a Server is initialized once")
        engine.owner = <void *>self
        self.handler = handler
        self._set_model(name, inputs, outputs, max_batch, max_request_bytes)
        engine.capacity = capacity
        engine.latency.fixed_ns, engine.latency.mu, engine.latency.sigma = latency
        engine.random.state = seed
        engine.max_request_bytes = max_request_bytes
        engine.max_connections = max_connections
        engine.spin = spin
        self._set_script(script)
        self._set_nghttp2()
        self._set_poller()
        self._listen(host, port)
        if journal is not None:
            if journal_open(&engine.journal, os.fsencode(journal)) < 0:
                error = engine.journal.error
                raise OSError(error, os.strerror(error), journal)
            engine.journaling = True

    def _set_model(self, name, inputs, outputs, max_batch, max_output_bytes):
        cdef Model *model = &self.engine.model
        cdef uint8_t *at = model.preamble
        if not (0 < len(inputs) <= MAX_TENSORS and 0 < len(outputs) <= MAX_TENSORS):
            raise ValueError(f"a model has 1 to {MAX_TENSORS} inputs and outputs")
        copy_text(name.encode(), model.name, NAME_BYTES, &model.name_length)
        at = put_bytes(at, 0x0a, model.name, model.name_length)
        at = put_bytes(at, 0x12, b"1", 1)
        model.preamble_length = at - model.preamble
        model.max_batch = max_batch
        model.max_output_bytes = max_output_bytes
        model.input_count = len(inputs)
        model.output_count = len(outputs)
        for i, spec in enumerate(inputs):
            set_tensor(&model.inputs[i], spec)
        for i, spec in enumerate(outputs):
            set_tensor(&model.outputs[i], spec)
            echoes = i < len(inputs) and inputs[i][1:] == spec[1:]
            model.outputs[i].echoes = i if echoes else -1

    def _set_script(self, script):
        cdef Engine *engine = &self.engine
        cdef Phase *phase
        engine.phases = <Phase *>calloc(len(script) + 1, sizeof(Phase))
        if engine.phases == NULL:
            raise MemoryError
        engine.phase_count = len(script)
        for i, entry in enumerate(script):
            phase = &engine.phases[i]
            phase.at_ns, phase.action, phase.share, phase.latency_ns, phase.status = entry

    def _set_nghttp2(self):
        cdef Engine *engine = &self.engine
        engine.buffer = <uint8_t *>malloc(READ_BYTES)
        if (engine.buffer == NULL
                or nghttp2_session_callbacks_new(&engine.callbacks) != 0
                or nghttp2_option_new(&engine.option) != 0):
            raise MemoryError
        nghttp2_session_callbacks_set_on_begin_headers_callback(
            engine.callbacks, on_begin_headers)
        nghttp2_session_callbacks_set_on_header_callback(engine.callbacks, on_header)
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
            engine.callbacks, on_data_chunk)
        nghttp2_session_callbacks_set_on_frame_recv_callback(engine.callbacks, on_frame_recv)
        nghttp2_session_callbacks_set_on_frame_send_callback(engine.callbacks, on_frame_send)
        nghttp2_session_callbacks_set_on_stream_close_callback(
            engine.callbacks, on_stream_close)
        nghttp2_session_callbacks_set_send_data_callback(engine.callbacks, send_data)
        nghttp2_session_callbacks_set_data_source_read_length_callback(
            engine.callbacks, data_frame_bytes)
        nghttp2_option_set_no_closed_streams(engine.option, 1)
        engine.response_fields[0] = constant_field(b":status", b"200")
        engine.response_fields[1] = constant_field(b"content-type", b"application/grpc")
        engine.trailer_field = constant_field(b"grpc-status", b"0")
        engine.unsupported_field = constant_field(b":status", b"415")
        engine.control = respond_control
        engine.control_methods[:] = [
            b"ServerLive", b"ServerReady", b"ModelReady", b"ServerMetadata", b"ModelMetadata",
            b"ModelConfig", b"ModelStatistics",
        ]
        engine.mem = pool_functions(&engine.pool)

    def _set_poller(self):
        cdef Engine *engine = &self.engine
        cdef epoll_event event
        self.wake_reader, self.wake_writer = socket.socketpair()
        self.wake_reader.setblocking(False)
        self.wake_writer.setblocking(False)
        engine.poller = epoll_create1(EPOLL_CLOEXEC)
        engine.wake_poller = epoll_create1(EPOLL_CLOEXEC)
        event.events = EPOLLIN
        event.data.ptr = engine
        for poller in (engine.poller, engine.wake_poller):
            if epoll_ctl(poller, EPOLL_CTL_ADD, self.wake_reader.fileno(), &event) < 0:
                raise OSError(errno, os.strerror(errno))

    def _listen(self, host, port):
        cdef Engine *engine = &self.engine
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # Bound and never listening: it holds the port while a script refuses connections.
        self.reserved = socket.socket(family, socket.SOCK_STREAM)
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(address)
        self.port = self.reserved.getsockname()[1]
        engine.address_length = sizeof(engine.address)
        getsockname(self.reserved.fileno(), <sockaddr *>&engine.address,
                    &engine.address_length)
        if listener_open(engine) < 0:
            raise OSError(engine.error, os.strerror(engine.error))

    def __dealloc__(self):
        cdef Engine *engine = &self.engine
        cdef void *slab = engine.stream_slabs
        cdef void *older
        while engine.connections != NULL:
            connection_close(engine.connections)
        engine.dirty = NULL
        flush_all(engine)
        for fd in (engine.listener, engine.poller, engine.wake_poller):
            if fd >= 0:
                close(fd)
        journal_close(&engine.journal)
        while slab != NULL:
            older = (<void **>slab)[0]
            free(slab)
            slab = older
        free(engine.heap.entries)
        free(engine.phases)
        free(engine.buffer)
        nghttp2_session_callbacks_del(engine.callbacks)
        nghttp2_option_del(engine.option)
        pool_empty(&engine.pool)

    def run(self):
        prctl1(PR_SET_TIMERSLACK, 1)
        while not self.engine.stopping:
            with nogil:
                rc = serve_events(&self.engine)
            if rc < 0:
                what = self.engine.error_text.decode()
                raise OSError(self.engine.error, f"{what}: {os.strerror(self.engine.error)}")
            try:
                while self.wake_reader.recv(4096):
                    pass
            except BlockingIOError:
                pass
            # Handlers run in Python's own loop, which this one never returns to.
            PyErr_CheckSignals()

    def stop(self):
        self.engine.stopping = True
        try:
            self.wake_writer.send(b"\0")
        except BlockingIOError:
            pass

    def wake_fd(self):
        return self.wake_writer.fileno()

    def close(self):
        cdef Engine *engine = &self.engine
        while engine.connections != NULL:
            connection_close(engine.connections)
        flush_all(engine)
        if engine.listener >= 0:
            close(engine.listener)
            engine.listener = -1
        self.reserved.close()
        if journal_close(&engine.journal) < 0:
            raise OSError(errno, os.strerror(errno))

    def counters(self):
        cdef Counters *counters = &self.engine.counters
        return {
            "inferences": counters.inferences,
            "executions": counters.executions,
            "succeeded": counters.succeeded,
            "succeeded_ns": counters.succeeded_ns,
            "failed": counters.failed,
            "failed_ns": counters.failed_ns,
            "queue_ns": counters.queue_ns,
            "compute_ns": counters.compute_ns,
            "last_ns": counters.last_ns,
        }


def die_with_parent(pid):
    """SIGKILL for this process when its parent, which must be `pid`, ends."""
    if prctl1(PR_SET_PDEATHSIG, SIGKILL) < 0:
        raise OSError(errno, os.strerror(errno))
    if getppid() != pid:
        kill(getpid(), SIGKILL)
