"""What the script does to the listener and the connections, and when."""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from harness._server_connection cimport (
    connection_close,
    connection_fill,
    connection_flush,
    connection_reset,
    out_reserve,
    set_deadline,
)
from harness._server_service cimport random_bits
from harness._server_state cimport (
    ACTION_GARBAGE,
    ACTION_GOAWAY,
    ACTION_GOAWAY_ABRUPT,
    ACTION_HALFCLOSE,
    ACTION_REFUSE,
    ACTION_RESET,
    Connection,
    Engine,
    Phase,
)
from harness._server_stream cimport mark_dirty
from harness.includes.linux cimport (
    EPOLL_CTL_ADD,
    EPOLLIN,
    SHUT_WR,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    bind,
    close,
    epoll_ctl,
    epoll_event,
    errno,
    listen,
    setsockopt,
    shutdown,
    sockaddr,
    socket as open_socket,
)
from harness.includes.nghttp2 cimport (
    NGHTTP2_FLAG_NONE,
    NGHTTP2_INTERNAL_ERROR,
    nghttp2_session_terminate_session2,
    nghttp2_submit_ping,
    nghttp2_submit_shutdown_notice,
)


cdef inline int listener_open(Engine *engine) noexcept nogil:
    cdef epoll_event event
    cdef int one = 1
    cdef int fd = open_socket(engine.address.ss_family,
                              SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    event.events = EPOLLIN
    event.data.ptr = NULL
    if fd >= 0:
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))
    if (fd < 0 or bind(fd, <sockaddr *>&engine.address, engine.address_length) < 0
            or listen(fd, 4096) < 0
            or epoll_ctl(engine.poller, EPOLL_CTL_ADD, fd, &event) < 0):
        engine.error = errno
        engine.error_text = b"the port cannot be listened on"
        if fd >= 0:
            close(fd)
        return -1
    engine.listener = fd
    engine.accepting = True
    return 0


cdef inline int connection_fault(Connection *conn, int action) noexcept nogil:
    cdef uint64_t noise
    cdef int _
    if action == ACTION_REFUSE:
        return connection_close(conn)
    if action == ACTION_RESET:
        return connection_reset(conn)
    if conn.lingering or conn.closing:
        return 0
    mark_dirty(conn)
    if action == ACTION_GOAWAY:
        conn.draining = True
        set_deadline(conn)
        if nghttp2_submit_shutdown_notice(conn.session) == 0:
            nghttp2_submit_ping(conn.session, NGHTTP2_FLAG_NONE, NULL)
    elif action == ACTION_GOAWAY_ABRUPT:
        nghttp2_session_terminate_session2(conn.session, 0, NGHTTP2_INTERNAL_ERROR)
        conn.closing = True
    elif action == ACTION_HALFCLOSE:
        connection_flush(conn)
        shutdown(conn.fd, SHUT_WR)
        conn.mute = True
    elif action == ACTION_GARBAGE:
        if connection_fill(conn) < 0 or out_reserve(conn, 512) < 0:
            return connection_close(conn)
        for _ in range(64):
            noise = random_bits(&conn.engine.random)
            memcpy(conn.out + conn.out_end, &noise, 8)
            conn.out_end += 8
        conn.lingering = True
        connection_flush(conn)
        shutdown(conn.fd, SHUT_WR)
        set_deadline(conn)
    return 0


cdef inline int enter_phase(Engine *engine, const Phase *phase) noexcept nogil:
    cdef Connection *conn
    cdef Connection *later
    engine.phase = phase[0]
    if engine.refusing and phase.action != ACTION_REFUSE:
        engine.refusing = False
        if listener_open(engine) < 0:
            return -1
    if phase.action == ACTION_REFUSE and not engine.refusing:
        engine.refusing = True
        close(engine.listener)
        engine.listener = -1
    if phase.action >= ACTION_REFUSE:
        conn = engine.connections
        while conn != NULL:
            later = conn.later
            connection_fault(conn, phase.action)
            conn = later
    return 0


cdef inline int script_advance(Engine *engine) noexcept nogil:
    while (engine.script_start_ns and engine.phase_next < engine.phase_count
           and engine.now_ns >= (engine.script_start_ns
                                 + engine.phases[engine.phase_next].at_ns)):
        engine.phase_next += 1
        if enter_phase(engine, &engine.phases[engine.phase_next - 1]) < 0:
            return -1
    return 0
