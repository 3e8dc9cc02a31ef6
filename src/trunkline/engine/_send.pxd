# What the compiled channel calls without Python between.

cpdef Py_ssize_t send_now(int descriptor, bytes data) except? -1
