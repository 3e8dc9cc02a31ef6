# The types with which _channel.py is compiled.

cimport cython

# These stand for the functions of the same names that _channel.py imports.
from trunkline.engine._codec cimport binary_frame, frame, frame_header, text_frame
from trunkline.engine._send cimport send_now

cdef Py_ssize_t LARGE
cdef Py_ssize_t TAKEN_MESSAGES


cdef object NOTHING


cdef class Channel
cdef class Shortcut


cdef class Receiver:
    cdef public bint _asyncio_future_blocking
    cdef Channel _channel
    cdef object _loop
    cdef bint _waiting
    cdef object _cancelled
    cdef object _callback
    cdef object _context
    cdef Shortcut _shortcut
    cdef bint _refused_to_cancel

    cpdef wake(self)
    cdef _go_past_the_task(self, Shortcut shortcut)
    cdef _run_now(self)
    cpdef _run_soon(self, done)


cdef class Shortcut:
    cdef object _steps
    cdef object _task
    cdef object _left
    cdef object _end

    cpdef go_on(self, Receiver receiver)
    @cython.locals(receiver=Receiver)
    cdef _noted(self, waits_for)
    cdef _raise_end(self)


cdef class Volley:
    cdef public list frames
    cdef public Py_ssize_t bytes
    cdef public Py_ssize_t space
    cdef public bint is_open
    cdef public list refused
    cdef object _joined

    cpdef add(self, data)
    cpdef joined(self)


cdef class Channel:
    cdef public object _loop
    cdef public object _transport
    cdef public object _share
    cdef public object _view
    cdef public object _decoder
    cdef public object _deflate
    cdef public Py_ssize_t _threshold
    cdef public long long _base
    cdef public object _callback
    cdef public Receiver _receiver
    cdef public object _turn
    cdef public object _handed
    cdef public object _later
    cdef public int _socket
    cdef public bint _behind
    cdef public list _out
    cdef public Py_ssize_t _out_bytes
    cdef public Volley _volley
    cdef public Py_ssize_t _inbound_messages
    cdef public Py_ssize_t _inbound_bytes
    cdef public Py_ssize_t _high_water
    cdef public bint _reading
    cdef public bint _read_paused
    cdef public bint _write_paused
    cdef public object closed
    cdef public list messages
    cdef public Py_ssize_t head
    cdef public bint waiting
    cdef public bint hearing
    cdef public bint speaking
    cdef public bint writable
    cdef public bint heard

    cpdef feed(self, data, Py_ssize_t size)
    cpdef _wake(self)
    cpdef _release(self)
    cpdef arrival(self)
    cpdef take(self)
    cpdef answer(self, kind, call, otherwise)
    cpdef _ask_for_more(self)
    cpdef write_text(self, data)
    cpdef write_bytes(self, data)
    cpdef write_frame(self, data)
    @cython.locals(channel=Channel, volley=Volley, size=Py_ssize_t, left=Py_ssize_t)
    cpdef write_frame_to(self, lines, data)
    @cython.locals(volley=Volley)
    cpdef _settle(self)
    cpdef _put(self, data)
    @cython.locals(sent=Py_ssize_t)
    cdef _write(self, data)
    @cython.locals(unflushed=list)
    cpdef _flush_soon(self)
    cpdef _put_large(self, data)
    @cython.locals(volley=Volley, out=list)
    cpdef flush(self)
