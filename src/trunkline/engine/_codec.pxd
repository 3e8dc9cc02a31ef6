# What the compiled channel calls without Python between.

cpdef bytes text_frame(data)
cpdef bytes binary_frame(data)
cpdef bytes frame(int opcode, payload, bint rsv1=*)
cpdef bytes frame_header(int opcode, Py_ssize_t length, bint rsv1=*)
