# cython: language_level=3
"""One system call: send(2) on a socket, without waiting (`trunkline.engine.direct` says what for).

On Windows it takes nothing, so that all is the transport's.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

cdef extern from *:
    """
    #ifdef _WIN32
    static Py_ssize_t send_without_waiting(int descriptor, const char *data, Py_ssize_t size) { return -1; }
    #else
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0  /* Python ignores SIGPIPE. */
    #endif
    static Py_ssize_t send_without_waiting(int descriptor, const char *data, Py_ssize_t size) {
        return send(descriptor, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    #endif
    """
    Py_ssize_t send_without_waiting(int descriptor, const char *data, Py_ssize_t size)


cpdef Py_ssize_t send_now(int descriptor, bytes data) except? -1:
    """Send what the system takes at once: how many bytes that were, or -1 if it takes none.

    Args:
        descriptor: Of a connected socket.
        data: The bytes.
    """
    return send_without_waiting(descriptor, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
