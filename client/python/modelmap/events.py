"""What happens in the daemon, in order and without loss.

PUB drops what a slow subscriber does not take, so events are numbered. Subscribe first, ask where the daemon is, then see
to it that each event has the next number; after a gap the missing ones are asked for, and where the daemon does not have
them any more (or was started anew) the caller gets an event of type "resync": read the whole state again."""

from __future__ import annotations

import asyncio
import time
from typing import Any, AsyncIterator, Callable, Collection, Dict, Iterator, List, Optional, cast

import zmq
import zmq.asyncio

from .conn import Conn, _parse
from .errors import Error, NoDaemon, Protocol
from .tables import Record

SILENCE_S = 6.0  # heartbeats come every 2 seconds
TYPES = ("model", "job", "alert", "map", "status", "resync")  # resync is ours, and comes whatever is asked for

Call = Callable[[str, Dict[str, Any]], Dict[str, Any]]


def _int(o: Dict[str, Any], key: str) -> int:
    n = o.get(key)
    if not isinstance(n, int):
        raise Protocol("events: \"%s\" is not a number" % key)
    return n


def _str(o: Dict[str, Any], key: str) -> str:
    s = o.get(key)
    if not isinstance(s, str):
        raise Protocol("events: \"%s\" is not a string" % key)
    return s


class Order:
    """Puts events in order: `take` one as it came, get those that are due. `call` asks the daemon."""

    def __init__(self, call: Call) -> None:
        self.call = call
        at = call("events_since", {})
        self.endpoint = _str(at, "endpoint")
        self.boot = ""
        self.seq = 0

    def start(self) -> None:
        """After the subscription: from here on nothing is lost."""
        at = self.call("events_since", {})
        self.boot, self.seq = _str(at, "boot"), _int(at, "seq")

    def is_next(self, e: Dict[str, Any]) -> bool:
        """Whether this one, or this heartbeat, follows what was seen: nothing has to be asked."""
        step = 0 if e.get("type") == "heartbeat" else 1
        return e.get("boot") == self.boot and _int(e, "seq") <= self.seq + step

    def take(self, e: Dict[str, Any]) -> List[Record]:
        """The events that are due, oldest first."""
        if not self.is_next(e):
            return self.fill()
        if e.get("type") == "heartbeat" or _int(e, "seq") <= self.seq:
            return []
        self.seq = _int(e, "seq")
        return [Record(e)]

    def fill(self) -> List[Record]:
        out: List[Record] = []
        more = True
        while more:
            r = self.call("events_since", {"boot": self.boot, "seq": self.seq})
            if r.get("gap"):
                self.boot, self.seq = _str(r, "boot"), _int(r, "seq")
                return [Record(type="resync", boot=self.boot, seq=self.seq)]
            events = r.get("events")
            if not isinstance(events, list) or not all(isinstance(e, dict) for e in events):
                raise Protocol("events_since: the reply has no list of events")
            for e in events:
                self.seq = _int(e, "seq")
                out.append(Record(e))
            more = bool(r.get("more")) and bool(events)
        return out


def _socket(ctx: Any, conn: Conn, endpoint: str) -> Any:
    s = ctx.socket(zmq.SUB)
    conn.secure(s)
    s.setsockopt(zmq.RCVHWM, 100000)
    s.setsockopt(zmq.SUBSCRIBE, b"")
    try:
        s.connect(endpoint)
    except zmq.ZMQError as e:
        s.close(0)
        raise Protocol("events: %s: %s" % (endpoint, e)) from None
    conn.followers.append(s)
    return s


def _done(conn: Conn, s: Any) -> None:
    if s in conn.followers:
        conn.followers.remove(s)
    s.close(0)


def _gone(conn: Conn) -> NoDaemon:
    return NoDaemon("%s: no sign of life for %gs: the daemon has gone, or hangs" % (conn.url, SILENCE_S))


def _event(frames: List[bytes]) -> Dict[str, Any]:
    return _parse(frames[1] if len(frames) > 1 else b"", "event")


def follow(conn: Conn, types: Optional[Collection[str]], timeout: Optional[float]) -> Iterator[Record]:
    """See Client.events."""
    order = Order(lambda cmd, args: conn.call(cmd, args)[0])
    s = _socket(conn.ctx, conn, order.endpoint)
    try:
        order.start()
        last = alive = time.monotonic()
        while True:
            wait = alive + SILENCE_S - time.monotonic()
            if timeout is not None:
                wait = min(wait, last + timeout - time.monotonic())
            if s.poll(max(0, int(wait * 1000) + 1)):
                alive = time.monotonic()
                for e in order.take(_event(cast(List[bytes], s.recv_multipart()))):
                    if types is None or e.get("type") in types or e.get("type") == "resync":
                        yield e
                        last = alive = time.monotonic()
            if timeout is not None and time.monotonic() >= last + timeout:
                return
            if time.monotonic() >= alive + SILENCE_S:
                raise _gone(conn)
    except zmq.ZMQError as e:
        raise (Error("the client is closed") if conn.closed else Error("events: %s" % e)) from None
    finally:
        _done(conn, s)


async def afollow(conn: Conn, types: Optional[Collection[str]], timeout: Optional[float]) -> AsyncIterator[Record]:
    """See Client.aevents. Questions to the daemon run on a thread, so that the loop never waits for them."""
    loop = asyncio.get_running_loop()
    order = await loop.run_in_executor(None, lambda: Order(lambda cmd, args: conn.call(cmd, args)[0]))
    s = _socket(zmq.asyncio.Context.shadow(conn.ctx.underlying), conn, order.endpoint)
    try:
        await loop.run_in_executor(None, order.start)
        last = alive = time.monotonic()
        while True:
            wait = alive + SILENCE_S - time.monotonic()
            if timeout is not None:
                wait = min(wait, last + timeout - time.monotonic())
            if await s.poll(max(0, int(wait * 1000) + 1)):
                alive = time.monotonic()
                e = _event(cast(List[bytes], await s.recv_multipart()))
                due = order.take(e) if order.is_next(e) else await loop.run_in_executor(None, order.fill)
                for d in due:
                    if types is None or d.get("type") in types or d.get("type") == "resync":
                        yield d
                        last = alive = time.monotonic()
            if timeout is not None and time.monotonic() >= last + timeout:
                return
            if time.monotonic() >= alive + SILENCE_S:
                raise _gone(conn)
    except zmq.ZMQError as e:
        raise (Error("the client is closed") if conn.closed else Error("events: %s" % e)) from None
    finally:
        _done(conn, s)
