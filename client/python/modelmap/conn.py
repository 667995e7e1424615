"""The connection: one DEALER socket, requests one after the other, each with a deadline; bulk data in pieces.

ZeroMQ connects in the background and never says that nobody is there. So an ipc path is tried with a plain connect first,
and a monitor tells about refused keys and broken connections at once instead of at the deadline. A connection may be used
from several threads: they take turns."""

from __future__ import annotations

import errno
import json
import numbers
import os
import reprlib
import socket
import threading
import time
from typing import Any, Dict, List, Optional, Tuple, Union

import zmq
from zmq.utils.monitor import recv_monitor_message

from .errors import Denied, Error, NoDaemon, Protocol, Timeout, refusal

VERSION = 1
brief = reprlib.repr  # of what somebody gave us: may be long, deep or a ring
_Z85 = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")
START = "start it with `systemctl start modelmapd`, or `modelmapd --foreground` for a try"


def _probe(path: str) -> int:
    """0 or the errno of a connect to a Unix socket."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        s.connect(path)
    except OSError as e:
        return 0 if e.errno in (errno.EAGAIN, errno.EINPROGRESS) else e.errno or errno.EIO
    finally:
        s.close()
    return 0


def find_endpoint(given: Union[None, str, "os.PathLike[str]"]) -> str:
    """The endpoint meant: as given, else $MODELMAP_SOCKET, else the user's own daemon, else the system's."""
    if given is not None and not isinstance(given, (str, os.PathLike)):
        raise TypeError("endpoint is a path, ipc:///path or tcp://host:port, not %s" % type(given).__name__)
    url = (os.fspath(given) if given else "") or os.environ.get("MODELMAP_SOCKET") or ""
    if not isinstance(url, str) or "\0" in url:
        raise ValueError("%s is no endpoint" % brief(url))
    if isinstance(given, os.PathLike) and not url.startswith(("/", ".")):
        url = "./" + url
    if url.startswith(("/", ".")):
        return "ipc://" + os.path.realpath(url)
    if url.startswith(("ipc://", "tcp://")):
        return url
    if url:
        raise ValueError("%s is no endpoint; expected a path, ipc:///path or tcp://host:port" % url)
    dirs = ["/run/user/%d/modelmapd" % os.getuid(), "/run/modelmapd"]
    if os.environ.get("XDG_RUNTIME_DIR"):
        dirs.insert(0, os.path.join(os.environ["XDG_RUNTIME_DIR"], "modelmapd"))
    denied = ""
    for d in dirs:
        for name in ("control", "query"):
            why = _probe(os.path.join(d, name))
            if why == 0:
                return "ipc://%s/%s" % (d, name)
            if why == errno.EACCES and not denied:
                denied = "ipc://%s/%s" % (d, name)
    if denied:
        return denied
    raise NoDaemon("no daemon is running (looked in %s); %s, or name its endpoint" % (" and ".join(dirs), START))


def _key(value: Optional[str], env: str, what: str) -> bytes:
    """A CURVE key: 40 Z85 characters, or the name of a file that holds them."""
    if value is not None and not isinstance(value, str):
        raise TypeError("%s is a key of 40 Z85 characters or the name of a file with one, not %s" % (what, type(value).__name__))
    text = value or os.environ.get(env) or ""
    if not text:
        raise ValueError("tcp needs server_key (the daemon's public key) and key (your secret key, see `modelmap keygen`)")
    if len(text.strip()) != 40 or not set(text.strip()) <= _Z85 or os.path.exists(text):
        try:
            with open(text, encoding="ascii", errors="replace") as f:
                text = f.read(4096)
        except (OSError, ValueError) as e:
            why = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
            raise ValueError("%s is neither a key of 40 Z85 characters nor a file with one: %s: %s" % (what, brief(text), why)) from None
    text = text.strip()
    if len(text) != 40 or not set(text) <= _Z85:
        raise ValueError("%s does not hold one key of 40 Z85 characters" % what)
    return text.encode("ascii")


def seconds(value: Optional[float], what: str, least: float = 1e-3) -> Optional[float]:
    """A time-out that can be waited for, None for ever."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError("%s is in seconds, or None for ever, not %s" % (what, type(value).__name__))
    if not least <= value <= 1e9:
        raise ValueError("%s is %s; it is from %g to 1e9 seconds, or None for ever" % (what, brief(value), least))
    return float(value)


def _plain(o: object) -> Any:
    """NumPy's numbers as Python's, for JSON."""
    if isinstance(o, numbers.Integral):
        return int(o)
    if isinstance(o, numbers.Real):
        return float(o)
    raise TypeError("%s is no value of JSON" % type(o).__name__)


def _request(cmd: str, args: Dict[str, Any], number: int) -> bytes:
    if not isinstance(cmd, str):
        raise TypeError("cmd is the name of a command, not %s" % type(cmd).__name__)
    for k in ("v", "id", "cmd"):
        if k in args:
            raise ValueError("%s: \"%s\" belongs to the envelope and is no argument" % (cmd, k))
    try:
        return json.dumps(dict(args, v=VERSION, id=number, cmd=cmd), allow_nan=False, default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as e:
        raise ValueError("%s: an argument cannot be sent: %s" % (cmd, e)) from None


class Conn:
    """See the head of this file. `timeout` in seconds; None waits for ever."""

    def __init__(self, endpoint: Union[None, str, "os.PathLike[str]"], timeout: Optional[float], server_key: Optional[str], key: Optional[str]) -> None:
        self.url = find_endpoint(endpoint)
        self.timeout = seconds(timeout, "timeout")
        self.lock = threading.RLock()
        self.followers: List[Any] = []  # sockets of events: the context ends with the last of its sockets
        self._id = 0
        self._up = False
        self._refused: Optional[Error] = None
        self._curve: Optional[Tuple[bytes, bytes, bytes]] = None
        if self.url.startswith("tcp://"):
            secret = _key(key, "MODELMAP_KEY", "key")
            try:
                self._curve = (_key(server_key, "MODELMAP_SERVER_KEY", "server_key"), zmq.curve_public(secret), secret)
            except zmq.ZMQError as e:
                raise ValueError("key is no CURVE key: %s" % e) from None
        self.ctx = zmq.Context()
        self._sock = self.ctx.socket(zmq.DEALER)
        self._mon = self._sock.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_DISCONNECTED
        )
        try:
            self.secure(self._sock)
        except zmq.ZMQError as e:
            self.close()
            raise ValueError("server_key is no CURVE key: %s" % e) from None
        self._sock.setsockopt(zmq.IMMEDIATE, 1)
        try:
            self._sock.connect(self.url)
        except (zmq.ZMQError, ValueError) as e:
            self.close()
            raise ValueError("%s is no endpoint: %s" % (self.url, e)) from None

    def secure(self, s: Any) -> None:
        """What every socket to this daemon needs before it connects."""
        s.setsockopt(zmq.LINGER, 0)
        if self._curve:
            s.setsockopt(zmq.CURVE_SERVERKEY, self._curve[0])
            s.setsockopt(zmq.CURVE_PUBLICKEY, self._curve[1])
            s.setsockopt(zmq.CURVE_SECRETKEY, self._curve[2])
            s.setsockopt(zmq.HEARTBEAT_IVL, 10000)

    @property
    def closed(self) -> bool:
        return bool(self._sock.closed)

    def close(self) -> None:
        """Idempotent."""
        with self.lock:
            if self._sock.closed:
                return
            self._sock.disable_monitor()
            self._mon.close(0)
            self._sock.close(0)
            for s in self.followers:
                s.close(0)
            self.ctx.term()

    # ---- waiting ----

    def _hear(self, waiting: bool) -> None:
        while self._mon.poll(0):
            event = int(recv_monitor_message(self._mon)["event"])
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._up, self._refused = True, None
            elif event == zmq.EVENT_DISCONNECTED:
                was, self._up = self._up, False
                if was and waiting:
                    raise NoDaemon("%s: the daemon went away; %s" % (self.url, START))
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._refused = Denied("denied", "%s: the daemon does not know our key; it belongs into curve.client_keys" % self.url)
            elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._refused = Protocol("%s: what answers there speaks another protocol" % self.url)
        # ZeroMQ tries no second time after a refused handshake: no answer will come, also when it was refused before the first call.
        if self._refused:
            raise self._refused.with_traceback(None)

    def _wait(self, what: int, end: Optional[float], timeout: Optional[float]) -> None:
        poller = zmq.Poller()
        poller.register(self._sock, what)
        poller.register(self._mon, zmq.POLLIN)
        while True:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                if self._up or not self._curve:
                    raise Timeout("%s: no answer within %gs" % (self.url, timeout or 0))
                raise NoDaemon("%s: no daemon answered within %gs; is it there, and is server_key its key?" % (self.url, timeout or 0))
            ready = dict(poller.poll(None if left is None else int(left * 1000) + 1))
            if ready.get(self._sock, 0) & what:
                return
            self._hear(True)

    def _absent(self) -> None:
        why = 0 if self._up or self._curve else _probe(self.url[6:])
        if why in (errno.EACCES, errno.EPERM):
            raise Denied("denied", "%s: permission denied; its group may use it, or ask for a query endpoint" % self.url)
        if why in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
            raise NoDaemon("no daemon at %s; %s" % (self.url, START))
        if why:
            raise Error("%s: %s" % (self.url, os.strerror(why)))

    # ---- calls ----

    def call(self, cmd: str, args: Dict[str, Any], timeout: Optional[float] = None) -> Tuple[Dict[str, Any], bytes]:
        """The body of the reply, without its envelope, and its binary frame."""
        timeout = self.timeout if timeout is None else timeout
        with self.lock:
            if self.closed:
                raise Error("the client is closed")
            self._hear(False)
            self._absent()
            self._id += 1
            text = _request(cmd, args, self._id)
            end = None if timeout is None else time.monotonic() + timeout
            self._wait(zmq.POLLOUT, end, timeout)
            self._sock.send(text)
            while True:
                self._wait(zmq.POLLIN, end, timeout)
                frames = self._sock.recv_multipart()
                reply = _parse(frames[0], "reply")
                # An earlier request's answer, after that one's deadline, is not ours; 0: it could not be read at all.
                if reply.get("id") == self._id or (reply.get("id") == 0 and reply.get("ok") is False):
                    return _body(reply), frames[1] if len(frames) > 1 else b""

    def bulk(self, cmd: str, args: Dict[str, Any], timeout: Optional[float] = None) -> Tuple[Dict[str, Any], bytes]:
        """A bulk reply and all of its bytes."""
        body, _ = self.call(cmd, args, timeout)
        said = body.get("bulk")
        if not isinstance(said, dict) or not isinstance(said.get("handle"), int) or not isinstance(said.get("bytes"), int):
            raise Protocol("%s: the reply has no bulk data" % cmd)
        handle, total = said["handle"], said["bytes"]
        parts: List[bytes] = []
        at = 0
        while at < total:
            said, piece = self.call("chunk", {"handle": handle, "offset": at}, timeout)
            if not piece or said.get("offset") != at or len(piece) > total - at:
                raise Protocol("bulk data at %d of %d do not fit" % (at, total))
            parts.append(piece)
            at += len(piece)
        return body, b"".join(parts)


def _parse(frame: bytes, what: str) -> Dict[str, Any]:
    try:
        o = json.loads(frame)
    except ValueError as e:
        raise Protocol("%s: %s" % (what, e)) from None
    if not isinstance(o, dict) or o.get("v") != VERSION:
        raise Protocol("%s: expected an object of protocol version %d" % (what, VERSION))
    return o


def _body(reply: Dict[str, Any]) -> Dict[str, Any]:
    if reply.get("ok") is not True:
        why = reply.get("error")
        code, text = (why.get("code"), why.get("text")) if isinstance(why, dict) else (None, None)
        if not isinstance(code, str) or not isinstance(text, str) or not text.strip():
            raise Protocol("reply: an error without code or text")
        raise refusal(code, text)
    return {k: v for k, v in reply.items() if k not in ("v", "id", "ok", "cmd")}
