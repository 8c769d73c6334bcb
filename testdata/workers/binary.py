"""A server and its workers in Python, on the binary wire: python3 binary.py PATH.

It was written from wire/PROTOCOL.md alone, and needs nothing but Python's standard library. The server listens on a unix
path. It reads the first byte of each connection: 0xB1 gets a worker, a process of its own; 0xB2 is a question how a worker
has ended.
"""
import datetime
import os
import queue
import socket
import struct
import subprocess
import sys
import threading
import time

HELLO, DO, OK, ER, DN, ACK, CANCEL = range(1, 8)
LAST, META = 1, 2
MAX_MESSAGE = 16 << 20
MAX_FRAME = MAX_MESSAGE + (2 << 20)  # with method and meta
MAX_DEPTH = 512


class Violation(Exception):
    """The other side broke the protocol."""


class Tagged:
    """A tag that stays what it is: 0, a time as text."""

    def __init__(self, tag, value):
        self.tag, self.value = tag, value


# CBOR


def head(major, n):
    for code, size, form in ((24, 1, ">B"), (25, 2, ">H"), (26, 4, ">I"), (27, 8, ">Q")):
        if n < 24:
            return bytes([major << 5 | n])
        if n < 1 << 8 * size:
            return bytes([major << 5 | code]) + struct.pack(form, n)
    raise ValueError("too large")


def encode(v):
    if v is None:
        return b"\xf6"
    if v is False or v is True:
        return b"\xf5" if v else b"\xf4"
    if isinstance(v, int):
        major, n = (0, v) if v >= 0 else (1, -1 - v)
        if n < 1 << 64:
            return head(major, n)
        raw = n.to_bytes((n.bit_length() + 7) // 8, "big")
        return head(6, 2 + major) + head(2, len(raw)) + raw
    if isinstance(v, float):
        return b"\xfb" + struct.pack(">d", v)
    if isinstance(v, bytes):
        return head(2, len(v)) + v
    if isinstance(v, str):
        raw = v.encode()
        return head(3, len(raw)) + raw
    if isinstance(v, (list, tuple)):
        return head(4, len(v)) + b"".join(map(encode, v))
    if isinstance(v, dict):
        return head(5, len(v)) + b"".join(encode(k) + encode(x) for k, x in v.items())
    if isinstance(v, Tagged):
        return head(6, v.tag) + encode(v.value)
    raise TypeError(f"{type(v).__name__} can't be encoded")


class Decoder:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if n > len(self.data) - self.at:
            raise Violation("CBOR that ends too soon")
        self.at += n
        return self.data[self.at - n : self.at]

    def head(self):
        first = self.take(1)[0]
        major, low = first >> 5, first & 31
        if low < 24:
            return major, low, low
        if low < 28:
            return major, low, int.from_bytes(self.take(1 << low - 24), "big")
        if low == 31:
            return major, low, None
        raise Violation("CBOR with a reserved length")

    def value(self, depth=0):
        if depth > MAX_DEPTH:
            raise Violation("nested too deep")
        major, low, n = self.head()
        if major == 0:
            return n
        if major == 1:
            return -1 - n
        if major in (2, 3):
            raw = self.take(n) if n is not None else b"".join(self.items(depth))
            if n is None and major == 3:
                return "".join(x for x in raw) if isinstance(raw, list) else raw.decode()
            return bytes(raw) if major == 2 else raw.decode()
        if major == 4:
            return self.items(depth) if n is None else [self.value(depth + 1) for _ in range(self.count(n))]
        if major == 5:
            return self.map(n, depth)
        if major == 6:
            return self.tag(n, depth)
        return self.simple(low, n)

    def count(self, n):
        if n > len(self.data) - self.at:
            raise Violation("more elements than bytes")
        return n

    def items(self, depth):
        """The parts of something of indefinite length, as bytes or values."""
        parts = []
        while self.data[self.at : self.at + 1] != b"\xff":
            v = self.value(depth + 1)
            parts.append(v.encode() if isinstance(v, str) else v)
        self.take(1)
        return parts

    def map(self, n, depth):
        m = {}
        left = self.count(n) if n is not None else -1
        while left != 0:
            if n is None and self.data[self.at : self.at + 1] == b"\xff":
                self.take(1)
                break
            k = self.value(depth + 1)
            if k in m:
                raise Violation("a key that comes twice")
            m[k] = self.value(depth + 1)
            left -= 1
        return m

    def tag(self, n, depth):
        v = self.value(depth + 1)
        if n == 0:
            return Tagged(0, v)
        if n == 1:
            at = datetime.datetime.fromtimestamp(v, datetime.timezone.utc)
            return Tagged(0, at.isoformat().replace("+00:00", "Z"))
        if n in (2, 3):
            big = int.from_bytes(v, "big")
            return big if n == 2 else -1 - big
        return v

    def simple(self, low, n):
        if low in (20, 21):
            return low == 21
        if low in (22, 23):
            return None
        if low in (25, 26, 27):
            form, size = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}[low]
            return struct.unpack(form, n.to_bytes(size, "big"))[0]
        raise Violation("an unknown simple value")


def decode(data):
    d = Decoder(data)
    try:
        v = d.value()
    except (UnicodeDecodeError, TypeError) as e:
        raise Violation(str(e))
    if d.at != len(data):
        raise Violation("bytes after a value")
    return v


# Frames


def read_exactly(sock, n):
    parts = []
    while n > 0:
        part = sock.recv(min(n, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


class Frame:
    def __init__(self, type, flags, id, method, meta, body):
        self.type, self.flags, self.id = type, flags, id
        self.method, self.meta, self.body = method, meta, body


def read_frame(sock):
    (length,) = struct.unpack(">I", read_exactly(sock, 4))
    if not 16 <= length <= MAX_FRAME:
        raise Violation(f"a frame of {length} bytes")
    data = read_exactly(sock, length)
    type, flags, size, id, _run = struct.unpack(">BBHIQ", data[:16])
    if flags & ~(LAST | META):
        raise Violation("an unknown flag")
    rest, meta = data[16:], {}
    if flags & META:
        (n,) = struct.unpack(">I", rest[:4])
        meta, rest = decode(rest[4 : 4 + n]), rest[4 + n :]
    if size > len(rest) or size and type != DO:
        raise Violation("a method where there is none")
    if len(rest) - size > MAX_MESSAGE:
        raise Violation("a body that is too large")
    return Frame(type, flags, id, rest[:size].decode(), meta, rest[size:])


def write_frame(sock, type, id=0, run=0, meta=None, body=b""):
    flags, extra = 0, b""
    if meta:
        raw = encode(meta)
        flags, extra = META, struct.pack(">I", len(raw)) + raw
    data = struct.pack(">BBHIQ", type, flags, 0, id, run) + extra + body
    sock.sendall(struct.pack(">I", len(data)) + data)


# A worker


class Failure(Exception):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


class Worker:
    def __init__(self, sock, number):
        self.sock, self.number = sock, number
        self.frames = queue.SimpleQueue()
        self.lock = threading.Lock()  # guards running
        self.running = None  # the id of the call that runs
        self.cancelled = threading.Event()
        self.released = 0
        self.logs, self.start = [], 0.0
        self.peer_max = MAX_MESSAGE
        self.user_meta = {}

    def log(self, level, message, data=None):
        record = [time.time() - self.start, level, message]
        self.logs.append(record + [data] if data is not None else record)

    def greet(self):
        hello = read_frame(self.sock)
        if hello.type != HELLO:
            raise Violation("no hello")
        theirs = decode(hello.body)
        if theirs.get(1) != 1:
            raise Violation("another version")
        self.peer_max = theirs.get(2, MAX_MESSAGE)
        ours = {1: 1, 2: MAX_MESSAGE, 3: "python", 4: os.getpid(), 5: self.number, 6: True, 9: 200_000_000}
        failed = os.environ.get("SETUP_FAILS", "")
        if os.path.exists(failed):
            ours[7] = {1: "python", 2: "the table is missing", 4: "NOTABLE", 6: os.getpid()}
        write_frame(self.sock, HELLO, body=encode(ours))
        return 7 not in ours

    def read(self):
        """Reads beside the handler: a cancel must not wait for its turn."""
        try:
            while True:
                frame = read_frame(self.sock)
                if frame.type == CANCEL:
                    with self.lock:
                        if frame.id == self.running:
                            self.cancelled.set()
                else:
                    self.frames.put(frame)
        except (EOFError, OSError, Violation) as e:
            if isinstance(e, Violation):
                print("violation:", e, file=sys.stderr, flush=True)
            self.cancelled.set()
            self.frames.put(None)

    def serve(self):
        if not self.greet():
            return
        threading.Thread(target=self.read, daemon=True).start()
        while (frame := self.frames.get()) is not None:
            if frame.type == DO:
                self.call(frame)
                if frame.flags & LAST:
                    self.done()
            elif frame.type == DN:
                self.done()
            else:
                return

    def done(self):
        self.released += 1
        write_frame(self.sock, ACK)

    def call(self, frame):
        with self.lock:
            self.running = frame.id
            self.cancelled.clear()
        self.logs, self.start = [], time.time()
        self.user_meta = frame.meta.get("bp", {})
        begin = time.monotonic_ns()
        try:
            args = decode(frame.body)
            method = getattr(self, "do_" + frame.method, None)
            if method is None:
                raise Failure(f"there is no method {frame.method!r}", "no such method")
            type, body = OK, encode([method(*args)])
            if len(body) > self.peer_max:
                raise Failure("the result is too large", "TOOLARGE")
        except Failure as e:
            type, body = ER, encode({1: str(e), 2: "Failure", 3: e.code})
        except Exception as e:
            type, body = ER, encode({1: str(e), 2: e.__class__.__name__})
        run = time.monotonic_ns() - begin
        with self.lock:
            self.running = None
        meta = {"ld": {"start": self.start, "logs": self.logs, "timers": [["junk", 0.0, 0.25]]}} if self.logs else None
        write_frame(self.sock, type, frame.id, run, meta, body)

    def do_echo(self, value):
        return value

    def do_pid(self):
        return os.getpid()

    def do_released(self):
        return self.released

    def do_meta(self):
        return self.user_meta

    def do_fail(self, message):
        raise Failure(message, "FAILED")

    def do_logs(self):
        self.log(30, "hello from worker", {"k": "v"})
        self.log(20, "careful")

    def do_wait(self, path):
        open(path, "w").close()  # to show that it runs
        self.cancelled.wait()
        raise Failure("it was cancelled", "CANCELLED")

    def do_exit(self, code):
        print("last words", file=sys.stderr, flush=True)
        os._exit(code)


# The server


class Server:
    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(100)
        self.lock = threading.Lock()  # guards all below
        self.number = 0
        self.workers = {}  # (pid, number) to process

    def run(self):
        print("listening", flush=True)
        while True:
            sock, _ = self.listener.accept()
            threading.Thread(target=self.receive, args=(sock,), daemon=True).start()

    def receive(self, sock):
        with sock:
            first = sock.recv(1)
            if first == b"\xb1":
                self.spawn(sock)
            elif first == b"\xb2":
                self.answer(sock)

    def spawn(self, sock):
        with self.lock:
            self.number += 1
            number = self.number
            process = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__), "--worker", str(number)], stdin=sock, stderr=subprocess.PIPE
            )
            self.workers[process.pid, number] = process
        process.last_words = process.stderr.read()
        process.wait()

    def answer(self, sock):
        (size,) = struct.unpack(">I", read_exactly(sock, 4))
        if size > 64:
            return
        question = decode(read_exactly(sock, size))
        with self.lock:
            process = self.workers.get((question.get(1), question.get(2)))
        if process is None:
            return
        code = process.wait()
        answer = {1: process.pid, 2: question[2], 3: max(code, -1), 6: "exited", 8: process.last_words}
        if code < 0:
            answer |= {4: -code, 5: f"signal {-code}", 6: "killed"}
        raw = encode(answer)
        sock.sendall(struct.pack(">I", len(raw)) + raw)


if sys.argv[1] == "--worker":
    Worker(socket.socket(fileno=0), int(sys.argv[2])).serve()
    os._exit(0)
Server(sys.argv[1]).run()
