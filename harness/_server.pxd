from harness._server_state cimport Engine

cdef class Server:
    cdef Engine engine
    cdef object handler
    cdef object reserved
    cdef object wake_reader
    cdef object wake_writer
    cdef readonly int port
