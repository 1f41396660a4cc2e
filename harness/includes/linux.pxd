"""What is used of Linux and libc beyond Cython's own `posix` declarations."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from posix.types cimport off_t, pid_t

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <arpa/inet.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <poll.h>
    #include <sched.h>
    #include <signal.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/mman.h>
    #include <sys/prctl.h>
    #include <sys/signalfd.h>
    #include <sys/socket.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <sys/types.h>
    #include <sys/uio.h>
    #include <time.h>
    #include <unistd.h>

    #ifndef SYS_epoll_pwait2
    #define SYS_epoll_pwait2 441
    #endif
    #ifndef SYS_pidfd_open
    #define SYS_pidfd_open 434
    #endif
    #ifndef F_ADD_SEALS
    #define F_ADD_SEALS 1033
    #define F_SEAL_SHRINK 0x0002
    #define F_SEAL_GROW 0x0004
    #define F_SEAL_SEAL 0x0001
    #endif

    static inline int64_t harness_clock_ns(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }

    /* glibc has had epoll_pwait2 only since 2.35, kernels since 5.11: called by number,
       and where the kernel lacks it (or a filter refuses it) epoll_wait stands in,
       rounded up to whole milliseconds. A negative timeout waits without end. */
    static inline int harness_epoll_wait_ns(int epfd, struct epoll_event *events,
                                            int maxevents, int64_t timeout_ns) {
        static int missing = 0;
        if (!missing) {
            struct timespec ts, *limit = NULL;
            if (timeout_ns >= 0) {
                ts.tv_sec = timeout_ns / 1000000000;
                ts.tv_nsec = timeout_ns % 1000000000;
                limit = &ts;
            }
            int n = (int)syscall(SYS_epoll_pwait2, epfd, events, maxevents, limit, NULL, 0);
            if (n >= 0 || (errno != ENOSYS && errno != EPERM))
                return n;
            missing = 1;
        }
        int64_t timeout_ms = timeout_ns < 0 ? -1 : (timeout_ns + 999999) / 1000000;
        if (timeout_ms > 0x7fffffff)
            timeout_ms = 0x7fffffff;
        return epoll_wait(epfd, events, maxevents, (int)timeout_ms);
    }

    /* Pins the calling thread to one CPU; -1 and errno if that is not allowed. */
    static inline int harness_pin_to_cpu(int cpu) {
        cpu_set_t set;
        CPU_ZERO(&set);
        if (cpu < 0 || cpu >= CPU_SETSIZE) {
            errno = EINVAL;
            return -1;
        }
        CPU_SET(cpu, &set);
        return sched_setaffinity(0, sizeof set, &set);
    }

    static inline int harness_prctl1(int option, unsigned long value) {
        return prctl(option, value, 0UL, 0UL, 0UL);
    }

    static inline int harness_pidfd_open(pid_t pid) {
        return (int)syscall(SYS_pidfd_open, pid, 0);
    }

    static inline void harness_cpu_relax(void) {
    #if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
    #elif defined(__aarch64__)
        __asm__ __volatile__("yield");
    #endif
    }
    """
    # CLOCK_MONOTONIC, ns.
    int64_t clock_ns "harness_clock_ns"() noexcept nogil
    int epoll_wait_ns "harness_epoll_wait_ns"(
        int epfd, epoll_event *events, int maxevents, int64_t timeout_ns) noexcept nogil
    int pin_to_cpu "harness_pin_to_cpu"(int cpu) noexcept nogil
    int prctl1 "harness_prctl1"(int option, unsigned long value) noexcept nogil
    int pidfd_open "harness_pidfd_open"(pid_t pid) noexcept nogil
    void cpu_relax "harness_cpu_relax"() noexcept nogil

    int errno
    char *strerror(int errnum) nogil
    int EINTR
    int EAGAIN
    int EWOULDBLOCK
    int EINPROGRESS
    int EINVAL
    int ENOMEM
    int ENOSYS
    int EPIPE
    int EMFILE
    int ENFILE
    int ENOBUFS
    int ECONNRESET
    int ECONNREFUSED
    int ECONNABORTED
    int ETIMEDOUT

    # Time.
    ctypedef long time_t
    cdef struct timespec:
        time_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int CLOCK_REALTIME
    int CLOCK_THREAD_CPUTIME_ID
    int CLOCK_PROCESS_CPUTIME_ID
    int TIMER_ABSTIME
    int clock_gettime(int clock, timespec *ts) noexcept nogil
    int clock_nanosleep(int clock, int flags, const timespec *request,
                        timespec *remain) noexcept nogil

    # epoll.
    ctypedef union epoll_data_t:
        void *ptr
        int fd
        uint32_t u32
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLL_CLOEXEC
    int EPOLL_CTL_ADD
    int EPOLL_CTL_MOD
    int EPOLL_CTL_DEL
    uint32_t EPOLLIN
    uint32_t EPOLLOUT
    uint32_t EPOLLERR
    uint32_t EPOLLHUP
    uint32_t EPOLLRDHUP
    uint32_t EPOLLET
    uint32_t EPOLLONESHOT
    int epoll_create1(int flags) noexcept nogil
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event) noexcept nogil
    int epoll_wait(int epfd, epoll_event *events, int maxevents, int timeout_ms) noexcept nogil

    # eventfd and poll.
    int EFD_CLOEXEC
    int EFD_NONBLOCK
    int eventfd(unsigned int initval, int flags) noexcept nogil
    cdef struct pollfd:
        int fd
        short events
        short revents
    short POLLIN
    short POLLOUT
    short POLLERR
    short POLLHUP
    int poll(pollfd *fds, unsigned long nfds, int timeout_ms) noexcept nogil

    # Sockets.
    ctypedef uint32_t socklen_t
    ctypedef uint16_t sa_family_t
    ctypedef uint32_t in_addr_t
    cdef struct in_addr:
        in_addr_t s_addr
    cdef struct sockaddr:
        sa_family_t sa_family
    cdef struct sockaddr_in:
        sa_family_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    cdef struct sockaddr_storage:
        sa_family_t ss_family
    cdef struct linger:
        int l_onoff
        int l_linger
    int AF_INET
    int AF_INET6
    int SOCK_STREAM
    int SOCK_NONBLOCK
    int SOCK_CLOEXEC
    int SOL_SOCKET
    int SO_ERROR
    int SO_LINGER
    int SO_REUSEADDR
    int SO_SNDBUF
    int SO_RCVBUF
    int SO_BUSY_POLL
    int IPPROTO_TCP
    int TCP_NODELAY
    int TCP_QUICKACK
    int TCP_USER_TIMEOUT
    int MSG_NOSIGNAL
    int MSG_DONTWAIT
    int MSG_PEEK
    int MSG_ZEROCOPY
    int SHUT_RD
    int SHUT_WR
    int SHUT_RDWR
    int socket(int domain, int type, int protocol) noexcept nogil
    int connect(int fd, const sockaddr *address, socklen_t length) noexcept nogil
    int bind(int fd, const sockaddr *address, socklen_t length) noexcept nogil
    int listen(int fd, int backlog) noexcept nogil
    int accept4(int fd, sockaddr *address, socklen_t *length, int flags) noexcept nogil
    int shutdown(int fd, int how) noexcept nogil
    int setsockopt(int fd, int level, int name, const void *value,
                   socklen_t length) noexcept nogil
    int getsockopt(int fd, int level, int name, void *value, socklen_t *length) noexcept nogil
    int getsockname(int fd, sockaddr *address, socklen_t *length) noexcept nogil
    ssize_t recv(int fd, void *buffer, size_t length, int flags) noexcept nogil
    ssize_t send(int fd, const void *buffer, size_t length, int flags) noexcept nogil
    uint16_t htons(uint16_t value) noexcept nogil
    uint16_t ntohs(uint16_t value) noexcept nogil
    uint32_t htonl(uint32_t value) noexcept nogil
    uint32_t ntohl(uint32_t value) noexcept nogil

    # Vectors, files.
    cdef struct iovec:
        void *iov_base
        size_t iov_len
    cdef struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    ssize_t sendmsg(int fd, const msghdr *message, int flags) noexcept nogil
    ssize_t readv(int fd, const iovec *iov, int iovcnt) noexcept nogil
    ssize_t writev(int fd, const iovec *iov, int iovcnt) noexcept nogil
    ssize_t read(int fd, void *buffer, size_t count) noexcept nogil
    ssize_t write(int fd, const void *buffer, size_t count) noexcept nogil
    int close(int fd) noexcept nogil
    int O_RDWR
    int O_CREAT
    int O_TRUNC
    int O_CLOEXEC
    int O_NONBLOCK
    int open(const char *path, int flags, ...) noexcept nogil
    int ftruncate(int fd, off_t length) noexcept nogil
    int posix_fallocate(int fd, off_t offset, off_t length) noexcept nogil
    int fsync(int fd) noexcept nogil
    int fcntl(int fd, int command, ...) noexcept nogil
    int F_GETFL
    int F_SETFL
    int F_GETFD
    int F_SETFD
    int FD_CLOEXEC
    int F_ADD_SEALS
    int F_GET_SEALS
    int F_SEAL_SEAL
    int F_SEAL_SHRINK
    int F_SEAL_GROW

    # Memory.
    int PROT_READ
    int PROT_WRITE
    int MAP_SHARED
    int MAP_PRIVATE
    int MAP_ANONYMOUS
    int MAP_POPULATE
    void *MAP_FAILED
    int MADV_HUGEPAGE
    int MADV_DONTFORK
    int MADV_POPULATE_WRITE
    int MCL_CURRENT
    int MCL_FUTURE
    int MREMAP_MAYMOVE
    unsigned int MFD_CLOEXEC
    unsigned int MFD_ALLOW_SEALING
    void *mmap(void *address, size_t length, int prot, int flags, int fd,
               off_t offset) noexcept nogil
    void *mremap(void *address, size_t old_size, size_t new_size, int flags, ...) noexcept nogil
    int munmap(void *address, size_t length) noexcept nogil
    int madvise(void *address, size_t length, int advice) noexcept nogil
    int mlock(const void *address, size_t length) noexcept nogil
    int memfd_create(const char *name, unsigned int flags) noexcept nogil
    void *memmem(const void *haystack, size_t haystack_length, const void *needle,
                 size_t needle_length) noexcept nogil

    # Processes and CPUs.
    int PR_SET_PDEATHSIG
    int PR_SET_TIMERSLACK
    int PR_SET_NAME
    int SIGTERM
    int SIGINT
    int SIGKILL
    pid_t getpid() noexcept nogil
    pid_t getppid() noexcept nogil
    int sched_getcpu() noexcept nogil
    int sched_yield() noexcept nogil
