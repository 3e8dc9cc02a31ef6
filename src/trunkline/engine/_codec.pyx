# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The native codec: the bytes of one read in, messages and events out; and the frames of a server.

A stream is frames; one or more data frames make a message; control frames may stand between them (RFC 6455 5.4).
A decoder is at one of three places of its stream:

1. Between frames: `left` is 0. A frame that lies whole in the read and is a message by itself becomes a `str` or
   `bytes` straight from the read buffer: unmasking is the copy. This is nearly every message, and costs no state.
2. In front of a frame that cannot begin yet: the first bytes of a header, or of a control frame (131 bytes at most),
   wait in `held` until the rest has come.
3. Inside the payload of a data frame, with `left` bytes to come: whatever arrives is unmasked to the end of `store`.

A message that is not whole yet has a `kind`, and its bytes are in `store`.

True at all times:
- The read buffer is only read, and only within the `size` given, and nothing points into it after `feed` returned.
- `store` is a bytes object that nobody else has seen; its first `size` bytes (of `room`) are written, and no other
  byte is read. It grows to four times what has arrived: a declared length only ever keeps it smaller.
- Each byte is copied once, plus when the store grows: the work is linear however the stream is cut.
- Lengths and limits are unsigned 64-bit numbers below 2**63, so that no sum of two overflows; a length becomes a size
  only together with bytes that are there.
- While Python code runs (`inflate`) the message has left the decoder. A decoder is `ended` while `feed` works, so
  whatever raises leaves it ended, and a `feed` inside a `feed` does nothing.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE, _PyBytes_Resize
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_AsUTF8String, PyUnicode_Check, PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from trunkline.engine import events as _events
from trunkline.engine.events import BadData, TooBig

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void* PyUnicode_DATA(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CONTROL = 0x8
    FINAL = 0x80
    MASKED = 0x80
    RSV1 = 0x40
    RSV2_RSV3 = 0x30
    KNOWN_OPCODES = 0b11100000111
    HELD = 6 + 125  # a control frame with its header; a data frame's header takes 14 at most
    NOTHING = 0  # in place of the opcode of a message

cdef enum Fault:
    RESERVED_BIT = -10
    UNKNOWN_OPCODE
    UNMASKED
    FRAGMENTED_CONTROL
    LONG_CONTROL
    LONE_CONTINUATION
    UNFINISHED_MESSAGE
    TOP_BIT
    NOT_MINIMAL
    OVER_LIMIT

cdef dict FAULTS = {
    RESERVED_BIT: _events.RESERVED_BIT,
    UNKNOWN_OPCODE: _events.UNKNOWN_OPCODE,
    UNMASKED: _events.UNMASKED,
    FRAGMENTED_CONTROL: _events.FRAGMENTED_CONTROL,
    LONG_CONTROL: _events.LONG_CONTROL,
    LONE_CONTINUATION: _events.LONE_CONTINUATION,
    UNFINISHED_MESSAGE: _events.UNFINISHED_MESSAGE,
    TOP_BIT: _events.TOP_BIT,
    NOT_MINIMAL: _events.NOT_MINIMAL,
}
cdef object BAD_UTF8 = _events.BAD_UTF8
cdef object BAD_DEFLATE = _events.BAD_DEFLATE
cdef tuple LAST = (_events.Close, _events.Violation)
cdef object control_event = _events.control_event
cdef object too_big = _events.too_big

cdef uint64_t HIGH_BITS = 0x8080808080808080


cdef struct Frame:
    int opcode
    bint final
    bint rsv1
    uint64_t length
    uint8_t mask[4]


cdef struct LengthForm:
    # How a payload length is written behind the first two bytes (RFC 6455 5.2), and the smallest that needs it.
    Py_ssize_t size
    uint64_t smallest


cdef struct Utf8:
    # Between characters `more` is 0; inside one it counts the bytes to come, the next of which is in low..high.
    uint8_t more
    uint8_t low
    uint8_t high


cdef inline LengthForm length_form(int short_length) noexcept nogil:
    cdef LengthForm form
    form.size = 0 if short_length < 126 else 2 if short_length == 126 else 8
    form.smallest = 0 if short_length < 126 else 126 if short_length == 126 else 0x10000
    return form


cdef inline uint64_t big_endian(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef uint64_t number = 0
    cdef Py_ssize_t i
    for i in range(size):
        number = number << 8 | data[i]
    return number


cdef inline uint64_t unmask(uint8_t* out, const uint8_t* data, Py_ssize_t size, const uint8_t* mask) noexcept nogil:
    """Write `data` unmasked to `out` (RFC 6455 5.3); nonzero if a byte of it is not ASCII."""
    cdef uint64_t word, mask8, seen = 0
    cdef Py_ssize_t i = 0, words = size >> 3
    memcpy(&mask8, mask, 4)
    memcpy(<uint8_t*>&mask8 + 4, mask, 4)
    for i in range(words):  # gcc makes this one vector instruction for two to four words
        memcpy(&word, data + (i << 3), 8)
        word ^= mask8
        memcpy(out + (i << 3), &word, 8)
        seen |= word
    for i in range(words << 3, size):
        out[i] = data[i] ^ mask[i & 3]
        seen |= out[i]
    return seen & HIGH_BITS


cdef inline Py_ssize_t ascii_run(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    """How many bytes at the start of `data` are certainly ASCII: found eight at a time, then one by one."""
    cdef uint64_t word
    cdef Py_ssize_t i = 0
    while i + 8 <= size:
        memcpy(&word, data + i, 8)
        if word & HIGH_BITS:
            break
        i += 8
    while i < size and data[i] < 0x80:
        i += 1
    return i


cdef bint utf8_continues(Utf8* state, const uint8_t* data, Py_ssize_t size) noexcept nogil:
    """Whether `data` may stand where the text has come to; the bounds are the table of RFC 3629 section 4."""
    cdef uint8_t byte, more = state.more, low = state.low, high = state.high
    cdef Py_ssize_t i = 0
    while i < size:
        byte = data[i]
        if more:
            if byte < low or byte > high:
                return False
            more -= 1
            low, high = 0x80, 0xBF
        elif byte < 0x80:
            i += ascii_run(data + i, size - i)
            continue
        else:
            if byte < 0xC2 or byte > 0xF4:
                return False
            more = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
            low = 0xA0 if byte == 0xE0 else 0x90 if byte == 0xF0 else 0x80
            high = 0x9F if byte == 0xED else 0x8F if byte == 0xF4 else 0xBF
        i += 1
    state.more, state.low, state.high = more, low, high
    return True


cdef object decode(const uint8_t* data, Py_ssize_t size):
    """The text, or None if it is not UTF-8."""
    try:
        return PyUnicode_DecodeUTF8(<const char*>data, size, NULL)
    except UnicodeDecodeError:
        return None


cdef inline object unmask_text(const uint8_t* data, Py_ssize_t size, const uint8_t* mask):
    """The text, or None if it is not UTF-8. Most text is ASCII, and then unmasking has already made the string."""
    cdef object text = PyUnicode_New(size, 0x7F)
    cdef uint8_t* out = <uint8_t*>PyUnicode_DATA(text)
    if not size or not unmask(out, data, size, mask):
        return text
    return decode(out, size)


cdef inline bytes unmask_bytes(const uint8_t* data, Py_ssize_t size, const uint8_t* mask):
    cdef bytes payload = PyBytes_FromStringAndSize(NULL, size)
    if size:  # the empty bytes object is shared, and never written to
        unmask(<uint8_t*>PyBytes_AS_STRING(payload), data, size, mask)
    return payload


@cython.final
cdef class Decoder:
    """Turns what a client sends into messages and events.

    Args:
        max_message: Bytes of one message at most, after inflating.
        inflate: Given when permessage-deflate was negotiated: called with the payload of a compressed message and the
            largest size allowed; raises `TooBig` or `BadData`.
    """

    cdef readonly uint64_t received
    cdef object inflate
    cdef uint64_t max_message
    cdef bint ended

    cdef uint8_t held[HELD]
    cdef Py_ssize_t held_size

    cdef int kind
    cdef bint compressed
    cdef Utf8 utf8
    cdef PyObject* store
    cdef Py_ssize_t size, room

    cdef uint64_t left
    cdef bint final
    cdef uint8_t mask[4]

    def __init__(self, Py_ssize_t max_message, inflate=None):
        if max_message < 0:
            raise ValueError(f"max_message is a number of bytes, 0 or more, but it is {max_message}")
        self.max_message = max_message
        self.inflate = inflate

    def __dealloc__(self):
        Py_XDECREF(self.store)

    @property
    def buffered(self):
        """Bytes held of a frame or message that is not whole yet."""
        return self.held_size + self.size

    @property
    def in_message(self):
        """Whether a part of a frame or message has come, and its rest has not."""
        return self.kind != NOTHING or self.held_size > 0

    def feed(self, data, Py_ssize_t size, list messages not None):
        """Take the first `size` bytes of `data`, and append to `messages` what they complete.

        Args:
            data: Any bytes-like object; it is only read, and no reference to it is kept.
            size: Bytes of it that count.
            messages: Gets whole messages in order: `str` for text, `bytes` for binary.

        Returns:
            The events in order, or None. A `Close` or `Violation` is the last, stands behind all messages, and what
            is fed after it is ignored.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if not 0 <= size <= view.len:
                raise ValueError(f"size is {size}, but the data has {view.len} bytes")
            if self.ended:
                return None
            return self._read(<const uint8_t*>view.buf, size, messages)
        finally:
            PyBuffer_Release(&view)

    cdef list _read(self, const uint8_t* data, Py_ssize_t size, list messages):
        cdef const uint8_t* end = data + size
        cdef list events = None
        cdef object event
        self.ended = True
        while data < end:
            if self.left:
                event = self._payload(&data, end, messages)
            else:
                event = self._frame(&data, end, messages)
            if event is None:
                continue
            if events is None:
                events = []
            events.append(event)
            if isinstance(event, LAST):
                self._forget()
                return events
        self.ended = False
        return events

    cdef object _frame(self, const uint8_t** data, const uint8_t* end, list messages):
        """The next frame: take it if it is whole, begin it if its header is, or hold what there is."""
        cdef Frame frame
        cdef const uint8_t* start = data[0]
        cdef Py_ssize_t there = end - start, before = self.held_size, needed
        if before:
            self._hold(start, there)
            start, there = self.held, self.held_size
        needed = self._header(start, there, &frame)
        if needed < 0:
            return too_big(self.max_message) if needed == OVER_LIMIT else FAULTS[needed]
        if needed and frame.opcode & CONTROL:
            needed += <Py_ssize_t>frame.length
        if needed == 0 or there < needed:
            if not before:
                self._hold(start, there)
            data[0] = end
            return None
        self.held_size = 0
        data[0] += needed - before
        if frame.opcode & CONTROL:
            start += needed - <Py_ssize_t>frame.length
            return control_event(frame.opcode, unmask_bytes(start, <Py_ssize_t>frame.length, frame.mask))
        if frame.final and self.kind == NOTHING and frame.length <= <uint64_t>(end - data[0]):
            start = data[0]
            data[0] += frame.length
            return self._whole(&frame, start, messages)
        self._begin(&frame)
        return self._payload(data, end, messages)

    cdef void _hold(self, const uint8_t* data, Py_ssize_t size) noexcept nogil:
        """Keep the start of a frame, as far as there is room: always enough to go on."""
        size = min(size, HELD - self.held_size)
        memcpy(self.held + self.held_size, data, size)
        self.held_size += size

    cdef Py_ssize_t _header(self, const uint8_t* data, Py_ssize_t size, Frame* frame) noexcept:
        """Read and check a header: its size, 0 while bytes of it are missing, or a `Fault`, as soon as it is seen."""
        cdef Py_ssize_t fault
        cdef LengthForm form
        if size < 2:
            return 0
        fault = self._opening(data[0], data[1], frame)
        if fault:
            return fault
        form = length_form(data[1] & 0x7F)
        if size < 2 + form.size:
            return 0
        frame.length = big_endian(data + 2, form.size) if form.size else data[1] & 0x7F
        if frame.length >> 63:
            return TOP_BIT
        if frame.length < form.smallest:
            return NOT_MINIMAL
        if not frame.opcode & CONTROL and self.size + frame.length > self._limit(frame.rsv1 or self.compressed):
            return OVER_LIMIT
        if size < 2 + form.size + 4:
            return 0
        memcpy(frame.mask, data + 2 + form.size, 4)
        return 2 + form.size + 4

    cdef Py_ssize_t _opening(self, uint8_t first, uint8_t second, Frame* frame) noexcept:
        """Read and check the first two bytes of a header: 0, or a `Fault`."""
        frame.opcode = first & 0x0F
        frame.final = first & FINAL
        frame.rsv1 = first & RSV1
        if first & RSV2_RSV3:
            return RESERVED_BIT
        if frame.rsv1 and (self.inflate is None or frame.opcode not in (TEXT, BINARY)):
            return RESERVED_BIT
        if not KNOWN_OPCODES >> frame.opcode & 1:
            return UNKNOWN_OPCODE
        if not second & MASKED:
            return UNMASKED
        if frame.opcode & CONTROL:
            return FRAGMENTED_CONTROL if not frame.final else LONG_CONTROL if second & 0x7F > 125 else 0
        if frame.opcode == CONTINUATION:
            return LONE_CONTINUATION if self.kind == NOTHING else 0
        return UNFINISHED_MESSAGE if self.kind != NOTHING else 0

    cdef uint64_t _limit(self, bint compressed) noexcept nogil:
        """Bytes that the payload of a message may have before it is inflated: deflate can make data larger."""
        return self.max_message + (self.max_message >> 3) + 64 if compressed else self.max_message

    cdef object _whole(self, Frame* frame, const uint8_t* data, list messages):
        """A message that is one frame, and there: the short way. None, or a `Violation`."""
        cdef object text
        if frame.opcode == BINARY or frame.rsv1:
            return self._deliver(
                frame.opcode, frame.rsv1, unmask_bytes(data, <Py_ssize_t>frame.length, frame.mask), messages
            )
        text = unmask_text(data, <Py_ssize_t>frame.length, frame.mask)
        if text is None:
            return BAD_UTF8
        messages.append(text)
        self.received += frame.length
        return None

    cdef void _begin(self, Frame* frame) noexcept nogil:
        """Enter the payload of a data frame."""
        if frame.opcode != CONTINUATION:
            self.kind, self.compressed, self.utf8.more = frame.opcode, frame.rsv1, 0
        self.left, self.final = frame.length, frame.final
        memcpy(self.mask, frame.mask, 4)

    cdef object _payload(self, const uint8_t** data, const uint8_t* end, list messages):
        """Take what has come of the frame's payload. None, or a `Violation`."""
        cdef Py_ssize_t part = <Py_ssize_t>min(self.left, <uint64_t>(end - data[0]))
        cdef uint8_t* out
        if part:
            self._reserve(part)
            out = <uint8_t*>PyBytes_AS_STRING(<object>self.store) + self.size
            unmask(out, data[0], part, self.mask)
            self._turn_mask(part & 3)
            self.size += part
            self.left -= part
            data[0] += part
            if self.kind == TEXT and not self.compressed and not utf8_continues(&self.utf8, out, part):
                return BAD_UTF8
        if self.left or not self.final:
            return None
        return self._finish(messages)

    cdef object _finish(self, list messages):
        """The last frame of a message has come. None, or a `Violation`."""
        cdef int kind = self.kind
        cdef bint compressed = self.compressed
        cdef bytes payload = self._take()
        return self._deliver(kind, compressed, payload, messages)

    cdef void _turn_mask(self, Py_ssize_t by) noexcept nogil:
        """Let the mask begin at the next byte of the payload."""
        cdef uint8_t twice[8]
        memcpy(twice, self.mask, 4)
        memcpy(twice + 4, self.mask, 4)
        memcpy(self.mask, twice + by, 4)

    cdef int _reserve(self, Py_ssize_t more) except -1:
        """Make room for `more` bytes that have come: four times what there is, but not beyond the end of a last frame."""
        cdef Py_ssize_t wanted = self.size + more, room
        if wanted <= self.room:
            return 0
        room = 4 * wanted
        if self.final:
            room = <Py_ssize_t>min(<uint64_t>room, self.size + self.left)
        if self.store is NULL:
            self._own(PyBytes_FromStringAndSize(NULL, room))
        else:
            _PyBytes_Resize(&self.store, room)
        self.room = room
        return 0

    cdef void _own(self, object store) noexcept:
        Py_INCREF(store)
        self.store = <PyObject*>store

    cdef bytes _take(self):
        """The message's bytes; the decoder is rid of them."""
        cdef bytes payload = b""
        if self.store is not NULL:
            if self.size != self.room:
                _PyBytes_Resize(&self.store, self.size)
            payload = <bytes>self.store
        self._forget()
        return payload

    cdef void _forget(self) noexcept:
        """Give up what is held of a frame or message."""
        cdef PyObject* store = self.store
        self.store = NULL
        self.size = self.room = self.held_size = 0
        self.left = 0
        self.kind = NOTHING
        self.compressed = False
        Py_XDECREF(store)

    cdef object _deliver(self, int kind, bint compressed, bytes payload, list messages):
        """Append a whole message. None, or a `Violation`."""
        cdef object message
        if compressed:
            try:
                payload = self.inflate(payload, self.max_message)
            except TooBig:
                return too_big(self.max_message)
            except BadData:
                return BAD_DEFLATE
            if payload is None:
                raise TypeError("inflate returns bytes, but it returned None")
        message = payload
        if kind == TEXT:
            message = decode(<const uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
            if message is None:
                return BAD_UTF8
        messages.append(message)
        self.received += PyBytes_GET_SIZE(payload)
        return None


cpdef bytes text_frame(data):
    """The frame of a text message.

    Args:
        data: The text.

    Raises:
        UnicodeEncodeError: The text has a lone surrogate, which UTF-8 cannot carry.
    """
    cdef bytes encoded
    if not PyUnicode_Check(data):
        raise TypeError(f"a text message is a str, but it is {type(data).__name__}; use binary_frame() for bytes")
    if PyUnicode_IS_COMPACT_ASCII(data):
        return build(FINAL | TEXT, <const uint8_t*>PyUnicode_DATA(data), PyUnicode_GET_LENGTH(data))
    encoded = PyUnicode_AsUTF8String(data)  # and not the encoding that a str can keep: that would double what it holds
    return build(FINAL | TEXT, <const uint8_t*>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))


cpdef bytes binary_frame(data):
    """The frame of a binary message.

    Args:
        data: Any bytes-like object.
    """
    return frame(BINARY, data)


cpdef bytes frame(int opcode, payload, bint rsv1=False):
    """One whole frame.

    Args:
        opcode: The opcode of RFC 6455 section 5.2.
        payload: Any bytes-like object.
        rsv1: Whether the payload is compressed (RFC 7692 section 6).
    """
    cdef Py_buffer view
    cdef uint8_t first = first_byte(opcode, rsv1)
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    try:
        return build(first, <const uint8_t*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cpdef bytes frame_header(int opcode, Py_ssize_t length, bint rsv1=False):
    """The header of a frame whose payload is written beside it.

    Args:
        opcode: The opcode of RFC 6455 section 5.2.
        length: Bytes of the payload.
        rsv1: Whether the payload is compressed (RFC 7692 section 6).
    """
    cdef uint8_t header[10]
    if length < 0:
        raise ValueError(f"length is a number of bytes, 0 or more, but it is {length}")
    return PyBytes_FromStringAndSize(<char*>header, write_header(header, first_byte(opcode, rsv1), length))


cdef uint8_t first_byte(int opcode, bint rsv1) except? 0:
    if not 0 <= opcode <= 15:
        raise ValueError(f"an opcode is 0 to 15, but it is {opcode}")
    return FINAL | (RSV1 if rsv1 else 0) | opcode


cdef inline bytes build(uint8_t first, const uint8_t* payload, Py_ssize_t size):
    cdef uint8_t header[10]
    cdef Py_ssize_t header_size = write_header(header, first, size)
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, header_size + size)
    cdef uint8_t* out = <uint8_t*>PyBytes_AS_STRING(whole)
    memcpy(out, header, header_size)
    if size:  # the address of an empty buffer may be NULL
        memcpy(out + header_size, payload, size)
    return whole


cdef inline Py_ssize_t write_header(uint8_t* out, uint8_t first, Py_ssize_t length) noexcept nogil:
    """Write the header of an unmasked frame, of ten bytes at most; its size."""
    cdef int short_length = 127 if length > 0xFFFF else 126 if length > 125 else <int>length
    cdef LengthForm form = length_form(short_length)
    cdef Py_ssize_t i
    out[0], out[1] = first, <uint8_t>short_length
    for i in range(form.size):
        out[2 + i] = <uint8_t>(<uint64_t>length >> 8 * (form.size - 1 - i))
    return 2 + form.size
