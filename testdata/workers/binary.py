#!/usr/bin/env python3
"""A server on the binary wire, and its workers, written from PROTOCOL.md alone.

    python3 binary.py PATH

listens on the unix socket PATH, prints "listening", and runs a process for each client. Python 3.11 on Linux,
standard library only.
"""

import collections
import errno
import os
import re
import select
import signal
import socket
import stat
import struct
import sys
import threading
import time
import traceback
from fractions import Fraction

SERVICE = "binary.py"
BUILD = "binary.py 1"
VERSION = 1

MAX_BODY = 64 << 20           # our MaxMessage
MAX_META = 1_048_572
MAX_LENGTH = MAX_BODY + 1_114_131
MAX_DEPTH = 512
MAX_QUESTION = 64
READ_AHEAD = 64 << 10         # frames that came too early: no more is read beyond that
GRACE = 5.0                   # seconds for a cancelled handler
STDERR_PART = 16 << 10        # so many first, and so many last bytes of a worker's stderr are kept
REMEMBERED = 1000             # so many ended workers

HELLO, DO, OK, ER, DN, ACK, CANCEL = range(1, 8)
LAST, META = 1, 2


# ---------------------------------------------------------------------------------------------------- CBOR

class CBORError(Exception):
    pass


class Bignum(int):
    """An integer that came as a bignum, and goes as one, however small it is."""


class Time:
    """A time: its text of RFC 3339. Python's datetime knows no nanoseconds."""
    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return isinstance(other, Time) and other.text == self.text

    def __hash__(self):
        return hash(self.text)

    def __repr__(self):
        return f"Time({self.text!r})"


RFC3339 = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?"
                     r"(?:[Zz]|[+-]([0-9]{2}):([0-9]{2}))")


def time_from_text(text):
    m = isinstance(text, str) and RFC3339.fullmatch(text)
    if not m:
        raise CBORError("a time that isn't RFC 3339")
    year, month, day, hour, minute, second, zh, zm = (int(g or 0) for g in m.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not (1 <= month <= 12 and 1 <= day <= days[month - 1] and hour < 24 and minute < 60 and second <= 60
            and zh < 24 and zm < 60):
        raise CBORError("a time that isn't RFC 3339")
    return Time(text)


def time_from_epoch(v):
    """Tag 1: seconds since 1970, an integer or a float."""
    if isinstance(v, (bool, Bignum)) or not isinstance(v, (int, float)):
        raise CBORError("a time that isn't a number")
    if not -62167219200 <= v < 253402300800:  # years 0 to 9999; NaN fails as well
        raise CBORError("a time out of range")
    ns = round(Fraction(v) * 10**9)
    sec, ns = divmod(ns, 10**9)
    days, sec = divmod(sec, 86400)
    z = days + 719468                         # days since 0000-03-01
    era, doe = divmod(z, 146097)
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    day = doy - (153 * mp + 2) // 5 + 1
    month = mp + 3 if mp < 10 else mp - 9
    year = yoe + era * 400 + (month <= 2)
    if not 0 <= year <= 9999:
        raise CBORError("a time out of range")
    text = f"{year:04}-{month:02}-{day:02}T{sec // 3600:02}:{sec // 60 % 60:02}:{sec % 60:02}"
    if ns:
        text += (f".{ns:09}").rstrip("0")
    return Time(text + "Z")


BREAK = object()


class Decoder:
    """Reads values from data. In a hello, maps have integers as keys (int_keys)."""

    def __init__(self, data, int_keys=False):
        self.data, self.pos, self.int_keys = data, 0, int_keys

    def left(self):
        return len(self.data) - self.pos

    def take(self, n):
        if n > self.left():
            raise CBORError("the data ends within a value")
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def head(self):
        """Major type, additional information and argument (None: indefinite length)."""
        b = self.take(1)[0]
        major, info = b >> 5, b & 31
        if info < 24:
            return major, info, info
        if info <= 27:
            return major, info, int.from_bytes(self.take(1 << (info - 24)), "big")
        if info == 31 and major in (2, 3, 4, 5, 7):
            return major, info, None
        raise CBORError("malformed")

    def chunk(self, major, n):
        b = bytes(self.take(n))
        if major == 2:
            return b
        try:
            return b.decode("utf-8")
        except UnicodeDecodeError:
            raise CBORError("text that isn't UTF-8") from None

    def string(self, major, n):
        if n is not None:
            return self.chunk(major, n)
        parts = []
        while True:
            m, info, n = self.head()
            if m == 7 and info == 31:
                return (b"" if major == 2 else "").join(parts)
            if m != major or n is None:
                raise CBORError("malformed")
            parts.append(self.chunk(major, n))

    def value(self, depth=0, may_break=False):
        major, info, n = self.head()
        if major == 0:
            return n
        if major == 1:
            return -1 - n
        if major in (2, 3):
            return self.string(major, n)
        if major == 7:
            if info == 20:
                return False
            if info == 21:
                return True
            if info in (22, 23):
                return None
            if info in (25, 26, 27):
                size = 1 << (info - 24)
                return struct.unpack(">" + "  efd"[info - 23], self.data[self.pos - size:self.pos])[0]
            if info == 31 and may_break:
                return BREAK
            raise CBORError("a simple value that isn't allowed, or a break where none may be")
        depth += 1
        if depth > MAX_DEPTH:
            raise CBORError("nested too deep")
        if major == 4:
            if n is None:
                out = []
                while (v := self.value(depth, True)) is not BREAK:
                    out.append(v)
                return out
            if n > self.left():
                raise CBORError("more elements than bytes")
            out = []
            for _ in range(n):
                out.append(self.value(depth))
            return out
        if major == 5:
            if n is not None and n > self.left() // 2:
                raise CBORError("more elements than bytes")
            out = {}
            while n is None or n > 0:
                k = self.value(depth, n is None)
                if k is BREAK:
                    break
                if n is not None:
                    n -= 1
                if type(k) is not str and not (self.int_keys and type(k) is int):
                    raise CBORError("a key that isn't text")
                if k in out:
                    raise CBORError("a key twice")
                out[k] = self.value(depth)
            return out
        v = self.value(depth)                 # major == 6: a tag
        if n == 0:
            return time_from_text(v)
        if n == 1:
            return time_from_epoch(v)
        if n in (2, 3):
            if not isinstance(v, bytes):
                raise CBORError("a bignum that isn't a byte string")
            i = int.from_bytes(v, "big")
            return Bignum(i if n == 2 else -1 - i)
        return v


def decode(data, int_keys=False):
    d = Decoder(data, int_keys)
    v = d.value()
    if d.left():
        raise CBORError("bytes after the value")
    return v


def encode_head(major, n):
    if n < 24:
        return bytes((major << 5 | n,))
    if n < 1 << 8:
        return struct.pack(">BB", major << 5 | 24, n)
    if n < 1 << 16:
        return struct.pack(">BH", major << 5 | 25, n)
    if n < 1 << 32:
        return struct.pack(">BI", major << 5 | 26, n)
    return struct.pack(">BQ", major << 5 | 27, n)


def encode_into(out, v):
    if v is None:
        out += b"\xf6"
    elif v is False:
        out += b"\xf4"
    elif v is True:
        out += b"\xf5"
    elif isinstance(v, int):
        major, n = (0, int(v)) if v >= 0 else (1, -1 - int(v))
        if isinstance(v, Bignum) or n >= 1 << 64:
            out += encode_head(6, 2 + major)
            encode_into(out, n.to_bytes((n.bit_length() + 7) // 8, "big"))
        else:
            out += encode_head(major, n)
    elif isinstance(v, float):
        out += struct.pack(">Bd", 0xFB, v)
    elif isinstance(v, str):
        b = v.encode("utf-8")
        out += encode_head(3, len(b))
        out += b
    elif isinstance(v, (bytes, bytearray)):
        out += encode_head(2, len(v))
        out += v
    elif isinstance(v, (list, tuple)):
        out += encode_head(4, len(v))
        for e in v:
            encode_into(out, e)
    elif isinstance(v, dict):
        out += encode_head(5, len(v))
        for k, e in v.items():
            encode_into(out, k)
            encode_into(out, e)
    elif isinstance(v, Time):
        out += b"\xc0"
        encode_into(out, v.text)
    else:
        raise CBORError(f"can't encode a {type(v).__name__}")


def encode(v):
    out = bytearray()
    encode_into(out, v)
    return bytes(out)


# ---------------------------------------------------------------------------------------------------- frames

class Violation(Exception):
    pass


class Closed(Exception):
    """The stream has ended."""


Frame = collections.namedtuple("Frame", "type flags id run meta method body")


def build_frame(type, id=0, body=b"", run=0, meta=None, flags=0, method=b""):
    m = b""
    if meta:
        m = encode(meta)
        if len(m) > MAX_META:
            raise ValueError("the meta is too large")
        m = struct.pack(">I", len(m)) + m
        flags |= META
    head = struct.pack(">IBBHIQ", 16 + len(m) + len(method) + len(body), type, flags, len(method), id, run)
    return b"".join((head, m, method, body))


def read_exactly(sock, n, started=True):
    buf = bytearray()
    while len(buf) < n:
        try:
            part = sock.recv(min(n - len(buf), 1 << 18))
        except OSError as e:
            raise Closed(str(e)) from None
        if not part:
            raise Closed("the stream ended within a message" if started or buf else "")
        buf += part
    return buf


def read_frame(sock, allowed, max_body=MAX_BODY):
    """Reads a frame of one of the types allowed. Nothing is read for which a limit hasn't been checked."""
    length = int.from_bytes(read_exactly(sock, 4, started=False), "big")
    if not 16 <= length <= MAX_LENGTH:
        raise Violation(f"a frame of {length} bytes")
    type, flags, nmethod, id, run = struct.unpack(">BBHIQ", read_exactly(sock, 16))
    if type not in allowed:
        raise Violation(f"a message of type {type} that is unknown, or may not come now")
    if flags & ~(LAST | META) or flags & LAST and type != DO:
        raise Violation(f"flags {flags} in a message of type {type}")
    if nmethod and type != DO:
        raise Violation("a method where none may be")
    if id and type in (HELLO, DN, ACK):
        raise Violation("an id where none may be")
    if run and type not in (OK, ER):
        raise Violation("a run time where none may be")
    left = length - 16 - nmethod
    if flags & META:
        if left < 4:
            raise Violation("a frame that is too short for what it says to have")
        nmeta = int.from_bytes(read_exactly(sock, 4), "big")
        left -= 4 + nmeta
        if nmeta > MAX_META:
            raise Violation(f"a meta of {nmeta} bytes")
    if left < 0:
        raise Violation("a frame that is too short for what it says to have")
    if left > max_body:
        raise Violation(f"a body of {left} bytes")
    if left and type in (DN, ACK, CANCEL):
        raise Violation("a body where none may be")
    meta = {}
    if flags & META:
        try:
            meta = decode(read_exactly(sock, nmeta))
        except CBORError as e:
            raise Violation(f"meta: {e}") from None
        if not isinstance(meta, dict):
            raise Violation("a meta that isn't a map")
    method = bytes(read_exactly(sock, nmethod))
    return Frame(type, flags, id, run, meta, method, bytes(read_exactly(sock, left)))


def text_or_missing(m, k, what):
    if m.get(k) is not None and not isinstance(m[k], str):
        raise Violation(f"{what}: key {k} isn't text")


def parse_client_hello(body):
    """Gives the largest body that the client takes."""
    try:
        h = decode(body, int_keys=True)
    except CBORError as e:
        raise Violation(f"hello: {e}") from None
    if not isinstance(h, dict) or not all(type(k) is int for k in h):
        raise Violation("a hello that isn't a map with integers as keys")
    if type(h.get(1)) is not int or h[1] != VERSION:
        raise Violation("a hello of another version")
    limit = h.get(2)
    if limit is not None and (type(limit) is not int or limit < 0):
        raise Violation("hello: key 2 isn't a size")
    text_or_missing(h, 3, "hello")
    text_or_missing(h, 8, "hello")
    return limit or MAX_BODY


# ---------------------------------------------------------------------------------------------------- worker

class Failure(Exception):
    """What a handler fails with: message, type and code of an er."""

    def __init__(self, message, type, code):
        super().__init__(message)
        self.er = {1: message, 2: type, 3: code}


class Call:
    def __init__(self, frame):
        self.frame = frame
        self.cancelled = threading.Event()
        bp = frame.meta.get("bp")
        if bp is None:
            bp = {}
        if not isinstance(bp, dict) or not all(isinstance(v, str) for v in bp.values()):
            raise Violation("meta: bp isn't a map of strings")
        self.bp = bp
        d = Decoder(frame.body)
        try:
            major, _, self.count = d.head()
        except CBORError:
            raise Violation("arguments that aren't an array") from None
        if major != 4 or self.count is None:
            raise Violation("arguments that aren't an array of definite length")
        if self.count > d.left():
            raise Violation("more arguments than bytes")
        self.decoder = d
        self.started = time.time()
        self.clock = time.monotonic()
        self.logs, self.timers = [], []

    def arguments(self):
        try:
            # The array of arguments doesn't count for the depth.
            args = [self.decoder.value() for _ in range(self.count)]
            if self.decoder.left():
                raise CBORError("bytes after the arguments")
            return args
        except CBORError as e:
            raise Failure(f"the arguments can't be read: {e}", "ArgumentError", "bad arguments") from None

    def log(self, level, message, *data):
        self.logs.append([time.monotonic() - self.clock, level, message, *data])

    def timer(self, name, seconds):
        end = time.monotonic() - self.clock
        self.timers.append([name, end - seconds, end])

    def meta(self):
        ld = {}
        if self.logs:
            ld["logs"] = self.logs
        if self.timers:
            ld["timers"] = self.timers
        return {"ld": {"start": self.started, **ld}} if ld else None


class Worker:
    def __init__(self, sock, number, tell):
        self.sock, self.number, self.tell = sock, number, tell
        self.released = 0
        self.cond = threading.Condition()
        self.queue = collections.deque()     # calls, and None for each dn
        self.queued = 0
        self.running = None
        self.ending = None                   # why the worker ends: (why, what, exit code)
        self.write_lock = threading.Lock()

    # -- the course of the connection

    def serve(self):
        failed = self.setup()
        try:
            hello = read_frame(self.sock, (HELLO,))
            self.limit = parse_client_hello(hello.body)
        except Violation as e:
            return "protocol violation", str(e), 2
        except Closed as e:
            return "retired", str(e), 0
        h = {1: VERSION, 2: MAX_BODY, 3: SERVICE, 4: os.getpid(), 5: self.number, 6: True, 8: BUILD,
             9: int(GRACE * 1e9)}
        if failed:
            message, code = failed
            h[7] = {1: SERVICE, 2: message, 4: code, 6: os.getpid()}
        try:
            self.send(build_frame(HELLO, body=encode(h)))
            if failed:
                return "setup failed", failed[0], 1
            threading.Thread(target=self.read_loop, daemon=True).start()
            while (call := self.take()) is not False:
                if call is None:
                    self.hook()
                    continue
                self.run(call)
                if call.frame.flags & LAST:
                    self.hook()
        except Closed as e:
            return self.ending or ("retired", str(e), 0)
        return self.ending

    def setup(self):
        name = os.environ.get("SETUP_FAILS")
        if name and os.path.exists(name):
            return "the table is missing", "NOTABLE"

    def send(self, data):
        with self.write_lock:                # read_loop takes it, too, before the connection is cut
            if self.ending:
                raise Closed("")
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Closed(str(e)) from None

    def take(self):
        with self.cond:
            while not self.queue and not self.ending:
                self.cond.wait()
            if self.ending:
                return False
            call = self.queue.popleft()
            self.queued -= self.weight(call)
            self.running = call
            self.cond.notify_all()
            return call

    @staticmethod
    def weight(call):
        return 1024 + (len(call.frame.body) if call else 0)

    def read_loop(self):
        ending = "crashed", "the reader failed", 3
        try:
            while True:
                self.wait_for_room()
                f = read_frame(self.sock, (DO, DN, CANCEL))
                if f.type == CANCEL:
                    self.cancel(f.id)
                    continue
                call = Call(f) if f.type == DO else None
                with self.cond:
                    self.queue.append(call)
                    self.queued += self.weight(call)
                    self.cond.notify_all()
        except Violation as e:
            ending = "protocol violation", str(e), 2
        except Closed as e:
            ending = "retired", str(e), 0
        except BaseException:
            traceback.print_exc()
        with self.cond, self.write_lock:
            self.ending = ending
            running = self.running
            self.cond.notify_all()
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if running:
            running.cancelled.set()
        time.sleep(GRACE)                    # a handler that returns ends the process before that
        self.tell(*ending)
        os._exit(ending[2])

    def wait_for_room(self):
        """Waits while too much has come too early. The client's closing is noticed all the same."""
        poll = select.poll()
        poll.register(self.sock, 0)
        with self.cond:
            while self.queued > READ_AHEAD:
                self.cond.wait(0.1)
                if poll.poll(0):
                    raise Closed("")

    def cancel(self, id):
        with self.cond:
            # A call that waits for its turn would run when the cancel came, if we didn't read ahead.
            for call in [*reversed(self.queue), self.running]:
                if call and call.frame.id == id:
                    call.cancelled.set()
                    timer = threading.Timer(GRACE, self.hung, (call,))
                    timer.daemon = True
                    timer.start()
                    return

    def hung(self, call):
        if self.running is call:
            self.tell("hung", "a cancelled handler didn't return", 3)
            os._exit(3)

    def hook(self):
        with self.cond:
            self.running = None
        self.released += 1
        self.send(build_frame(ACK))

    # -- a call

    def run(self, call):
        begin = time.perf_counter_ns()
        type, value = ER, None
        try:
            name = call.frame.method.decode("utf-8", "replace")
            handler = self.METHODS.get(name)
            if not handler:
                raise Failure(f"no such method: {name[:100]}", "NoSuchMethod", "no such method")
            n = handler.__code__.co_argcount - 2
            if call.count != n:
                raise Failure(f"{name} takes {n} arguments, not {call.count}", "ArgumentError", "bad arguments")
            value = handler(self, call, *call.arguments())
            body = encode([value])
            if len(body) > self.limit:
                raise Failure("the result is too large", "ResultError", "too large")
            type = OK
        except Failure as e:
            er = e.er
        except Exception as e:
            er = {1: str(e) or e.__class__.__name__, 2: "panic", 4: traceback.format_exc()}
        ran = time.perf_counter_ns() - begin
        if type == ER:
            body = self.encode_er(er)
        meta = call.meta()
        if meta and len(encode(meta)) > MAX_META:
            meta = None
        with self.cond:
            self.running = None
        self.send(build_frame(type, call.frame.id, body, ran, meta))

    def encode_er(self, er):
        """An er that is larger than the client takes: shortened, if need be."""
        er = {k: v.encode("utf-8", "replace").decode() for k, v in er.items() if v}
        body = encode(er)
        if len(body) > self.limit:
            er.pop(4, None)
            keep = max(0, self.limit - 256)
            er[1] = er.get(1, "").encode()[:keep].decode("utf-8", "ignore")
            body = encode(er)
            if len(body) > self.limit:
                body = encode({})
        return body

    # -- the methods

    def echo(self, call, x):
        return x

    def pid(self, call):
        return os.getpid()

    def fail(self, call, text):
        raise Failure(expect(text, str), "Failure", "FAILED")

    def get_released(self, call):
        return self.released

    def get_meta(self, call):
        return call.bp

    def logs(self, call):
        call.log(30, "hello from worker", {"k": "v"})
        call.log(20, "careful")
        call.timer("timer", 0.25)

    def wait(self, call, path):
        try:
            open(expect(path, str), "w").close()
        except (OSError, ValueError) as e:
            raise Failure(str(e), type(e).__name__, errno.errorcode.get(getattr(e, "errno", None), "")) from None
        call.cancelled.wait()
        raise Failure("the call was cancelled", "Cancelled", "CANCELLED")

    def exit(self, call, n):
        if type(n) is not int or not 0 <= n <= 255:
            raise Failure("an exit code is an integer from 0 to 255", "ArgumentError", "bad arguments")
        os.write(2, b"last words\n")
        self.tell("exited", "", n)
        os._exit(n)

    METHODS = {"echo": echo, "pid": pid, "fail": fail, "released": get_released, "meta": get_meta, "logs": logs,
               "wait": wait, "exit": exit}


def expect(v, type):
    if not isinstance(v, type):
        raise Failure(f"an argument isn't a {type.__name__}", "ArgumentError", "bad arguments")
    return v


# ---------------------------------------------------------------------------------------------------- server

class Record:
    """What the server knows of a worker, running or ended."""

    def __init__(self, pid, number, stderr, reason):
        self.pid, self.number, self.stderr, self.reason = pid, number, stderr, reason
        self.first, self.last, self.between = bytearray(), bytearray(), 0
        self.askers = []
        self.answer = None

    def drain(self):
        """Reads what there is of stderr. False: it has ended."""
        while True:
            try:
                b = os.read(self.stderr, 1 << 16)
            except BlockingIOError:
                return True
            if not b:
                return False
            try:
                os.write(2, b)
            except OSError:
                pass
            n = STDERR_PART - len(self.first)
            self.first += b[:n]
            self.last += b[n:]
            over = len(self.last) - STDERR_PART
            if over > 0:
                del self.last[:over]
                self.between += over

    def end(self, status, usage):
        self.drain()
        os.close(self.stderr)
        try:
            why, _, what = os.read(self.reason, 1 << 12).decode("utf-8", "replace").partition("\0")
        except BlockingIOError:
            why, what = "", ""
        os.close(self.reason)
        a = {1: self.pid, 2: self.number}
        if os.WIFSIGNALED(status):
            sig = os.WTERMSIG(status)
            try:
                name = signal.Signals(sig).name
            except ValueError:
                name = f"signal {sig}"
            outside = sig in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
            a |= {3: -1, 4: sig, 5: name}
            why, what = ("killed" if outside else "crashed"), ""
        else:
            a[3] = os.WEXITSTATUS(status)
        a[6] = why or "exited"
        if what:
            a[7] = what
        if self.first:
            a[8] = bytes(self.first)
        if self.last:
            a[9] = bytes(self.last)
        if self.between:
            a[10] = self.between
        a |= {12: round(usage.ru_utime * 1e9), 13: round(usage.ru_stime * 1e9), 14: usage.ru_maxrss * 1024}
        b = encode(a)
        self.answer = struct.pack(">I", len(b)) + b


class Server:
    def __init__(self, path):
        self.path = path
        try:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
        except FileNotFoundError:
            pass
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.poll = select.epoll()
        self.fds = {}                        # fd -> (what to do when it's ready)
        self.conns = {}                      # fd -> connection that isn't a worker's
        self.workers = {}                    # pid -> running
        self.known = collections.OrderedDict()
        self.numbers = 0
        self.stopping = False
        self.wake_r, self.wake_w = os.pipe()
        os.set_blocking(self.wake_r, False)
        os.set_blocking(self.wake_w, False)
        signal.set_wakeup_fd(self.wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *a: None)
        for s in (signal.SIGTERM, signal.SIGINT):
            signal.signal(s, self.stop)
        self.watch(self.wake_r, lambda ev: os.read(self.wake_r, 4096))
        self.watch(self.listener.fileno(), self.accept)

    def stop(self, *args):
        self.stopping = True

    def watch(self, fd, f, mask=select.EPOLLIN):
        self.fds[fd] = f
        self.poll.register(fd, mask)

    def forget(self, fd):
        if self.fds.pop(fd, None):
            self.poll.unregister(fd)

    def loop(self):
        while not self.stopping:
            for fd, ev in self.poll.poll():
                f = self.fds.get(fd)
                if f:
                    f(ev)
            self.reap()
        for pid in self.workers:
            os.kill(pid, signal.SIGKILL)
        os.unlink(self.path)

    def accept(self, ev):
        try:
            conn, _ = self.listener.accept()
        except BlockingIOError:
            return
        except OSError as e:                 # out of descriptors, perhaps
            print(f"accept: {e}", file=sys.stderr)
            time.sleep(0.1)
            return
        conn.setblocking(False)
        self.conns[conn.fileno()] = conn
        self.watch(conn.fileno(), lambda ev: self.first_byte(conn))

    def drop(self, conn):
        self.forget(conn.fileno())
        self.conns.pop(conn.fileno(), None)
        conn.close()

    def receive(self, conn, n):
        """None: nothing yet. Empty: it has ended."""
        try:
            return conn.recv(n)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def first_byte(self, conn):
        b = self.receive(conn, 1)
        if b is None:
            return
        if b == b"\xb1":
            self.start(conn)
        elif b == b"\xb2":
            buf = bytearray()
            self.fds[conn.fileno()] = lambda ev: self.question(conn, buf)
        else:
            self.drop(conn)                  # the end, the JSON wire that we don't speak, or no wire at all

    def start(self, conn):
        err_r, err_w = os.pipe()
        why_r, why_w = os.pipe()
        self.numbers += 1
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self.child(conn, err_w, why_w)
        os.close(err_w)
        os.close(why_w)
        self.drop(conn)
        os.set_blocking(err_r, False)
        os.set_blocking(why_r, False)
        rec = Record(pid, self.numbers, err_r, why_r)
        self.workers[pid] = rec
        self.known[pid, rec.number] = rec
        self.watch(err_r, lambda ev: rec.drain() or self.forget(err_r))

    def child(self, conn, err_w, why_w):
        code = 3
        try:
            signal.set_wakeup_fd(-1)
            for s in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(s, signal.SIG_DFL)
            os.dup2(err_w, 2)
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            keep = {conn.fileno(), why_w}
            for fd in os.listdir("/proc/self/fd"):
                if int(fd) > 2 and int(fd) not in keep:
                    try:
                        os.close(int(fd))
                    except OSError:
                        pass
            conn.setblocking(True)

            def tell(why, what, code):
                os.write(why_w, f"{why}\0{what}".encode("utf-8", "replace")[:4096])

            why, what, code = Worker(conn, self.numbers, tell).serve()
            tell(why, what, code)
        except BaseException:
            traceback.print_exc()
            os.write(why_w, b"crashed")
        finally:
            os._exit(code)

    def reap(self):
        while self.workers:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            rec = self.workers.pop(pid)
            self.forget(rec.stderr)
            rec.end(status, usage)
            for conn in rec.askers:
                self.reply(conn, rec)
            rec.askers.clear()
            ended = len(self.known) - len(self.workers)
            if ended > REMEMBERED:
                for key, r in self.known.items():
                    if r.answer:
                        del self.known[key]
                        break

    def question(self, conn, buf):
        while True:
            if len(buf) < 4:
                need = 4 - len(buf)
            else:
                size = int.from_bytes(buf[:4], "big")
                if size > MAX_QUESTION:
                    return self.drop(conn)
                need = 4 + size - len(buf)
                if need == 0:
                    break
            b = self.receive(conn, need)
            if b is None:
                return
            if not b:
                return self.drop(conn)
            buf += b
        try:
            q = decode(buf[4:], int_keys=True)
        except CBORError:
            return self.drop(conn)
        if not isinstance(q, dict) or type(q.get(1)) is not int or type(q.get(2)) is not int:
            return self.drop(conn)
        rec = self.known.get((q[1], q[2]))
        if not rec:
            return self.drop(conn)
        if rec.answer:
            return self.reply(conn, rec)
        rec.askers.append(conn)
        self.forget(conn.fileno())

        def gone(ev):
            rec.askers.remove(conn)
            self.drop(conn)

        self.watch(conn.fileno(), gone, 0)   # only its end

    def reply(self, conn, rec):
        try:
            conn.sendall(rec.answer)         # it fits into the empty buffer of a socket
        except OSError:
            pass
        self.drop(conn)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: binary.py PATH")
    sys.setrecursionlimit(10000)
    server = Server(sys.argv[1])
    print("listening", flush=True)
    server.loop()


if __name__ == "__main__":
    main()
