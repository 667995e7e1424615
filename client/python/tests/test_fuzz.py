"""Bad input on every call, and odd answers to every call: a clear error of ours, a ValueError or a TypeError, and nothing else; the
daemon is unmoved. Seeded: MODELMAP_TEST_SEED, MODELMAP_TEST_ROUNDS."""

import asyncio
import inspect
import json
import os
import random
import threading

import pytest
import zmq

import modelmap

SEED = int(os.environ.get("MODELMAP_TEST_SEED", "1"))
ROUNDS = int(os.environ.get("MODELMAP_TEST_ROUNDS", "12"))
CLEAR = (modelmap.Error, ValueError, TypeError)


class Odd:
    pass


def deep(n):
    out = []
    for _ in range(n):
        out = [out]
    return out


RING = []
RING.append(RING)
BAD = [
    "", " ", "neox-a", "x" * 5000, "x" * 70000, "\0", "a\0b", "\x1b[31m", "\ud800", "\U0001f600" * 300, "../../etc/passwd", "%s%n", "'; --",
    0, 1, -1, 2, 10**6, 10**30, -(10**30), True, False, 0.5, -0.0, 1e308, float("nan"), float("inf"), -float("inf"),
    b"bytes", bytearray(3), [], [1, 2], {}, {"v": 1}, deep(5), deep(5000), RING, (), set(), object(), Odd, Odd(), 1j, range(3), print,
]  # fmt: skip


def methods():
    """Every public method with its parameters."""
    for name, f in inspect.getmembers(modelmap.Client, inspect.isfunction):
        if not name.startswith("_") and name != "close":
            p = list(inspect.signature(f).parameters.values())[1:]
            yield name, [q for q in p if q.kind not in (q.VAR_KEYWORD, q.VAR_POSITIONAL)], any(q.kind == q.VAR_KEYWORD for q in p)


async def first(events):
    async for e in events:
        return e


def use(answer):
    """What is only done when it is asked for."""
    if inspect.isasyncgen(answer):
        return asyncio.run(first(answer))
    if inspect.isgenerator(answer):
        return next(answer, None)
    assert isinstance(repr(answer), str)
    return getattr(answer, "_repr_html_", str)()


def attempt(call, *args, **kw):
    """1 when it worked, 0 when it was refused clearly."""
    try:
        use(call(*args, **kw))
        return 1
    except CLEAR as e:
        assert str(e).strip(), "%s without a text" % type(e).__name__
        assert "\n" not in str(e) or not isinstance(e, modelmap.Refused)
        assert "unpack" not in str(e) and "NoneType" not in str(e) and "object is not iterable" not in str(e), str(e)
        return 0


def test_bad_arguments(m):
    before, r = m.status(), random.Random(SEED)
    count = {}
    for name, params, more in methods():
        for _ in range(ROUNDS * max(1, len(params))):
            kw = {q.name: r.choice(BAD) for q in params if q.default is q.empty or r.random() < 0.4}
            if name in ("events", "aevents") and not isinstance(kw.get("timeout"), str):
                kw["timeout"] = r.choice([0, 0.01, -1, float("nan"), "x"])  # whoever waits for ever gets what he asked for
            if more and r.random() < 0.7:
                kw[r.choice(["name", "k", "all", "what", "v", "id", "nonsense", ""])] = r.choice(BAD)
            if name == "call" and r.random() < 0.7:
                kw["cmd"] = r.choice(["near", "export", "map", "place", "chunk", "statu", "scores_import", "retry"])
            worked = attempt(getattr(m, name), **kw)
            count[name] = count.get(name, 0) + worked
    after = m.status()
    for key in ("version", "texts", "models", "scored", "epoch", "queue"):
        assert after[key] == before[key]
    assert {"status", "models", "show", "near", "dist", "map", "matrix", "vectors", "scores", "predict", "alerts", "queue", "events", "aevents"} <= set(count)


def test_bad_connections(tmp_path):
    r = random.Random(SEED)
    for _ in range(ROUNDS * 10):
        kw = {k: r.choice(BAD) for k in ("timeout", "server_key", "key") if r.random() < 0.5}
        end = r.choice([r.choice(BAD), "tcp://127.0.0.1:9", "tcp://", "tcp://:::", "ipc://", "/nobody", str(tmp_path / "x") + "y" * 200, tmp_path])
        if not end and end is not None and not isinstance(end, (int, float)):
            end = "nonsense"  # nothing: the daemon of this machine
        if isinstance(end, str) and end.startswith("tcp") and r.random() < 0.7:
            kw["key"], kw["server_key"] = r.choice(["a" * 40, "#" * 40, 40 * "\u00e9", "/dev/null"]), r.choice(["a" * 40, "#" * 40])
        kw["timeout"] = r.choice([0.02, kw.get("timeout", 0.02)])
        if isinstance(kw["timeout"], (int, float)) and kw["timeout"] > 1:
            kw["timeout"] = 0.02

        def ask():
            with modelmap.Client(end, **kw) as c:
                return c.status()

        attempt(ask)


def mutate(r, o):
    """An answer with something in it gone, of another type, or twice as much."""
    o = json.loads(json.dumps(o))
    for _ in range(r.randint(1, 3)):
        at, path = o, []
        while isinstance(at, (dict, list)) and at and (not path or r.random() < 0.6):
            key = r.choice(list(at)) if isinstance(at, dict) else r.randrange(len(at))
            path.append((at, key))
            at = at[key]
        if path:
            where, key = path[-1]
            if r.random() < 0.3:
                del where[key]
            else:
                where[key] = r.choice([None, 0, -1, 1e300, "", "x", [], {}, [None], [3], [[]], {"a": None}, True, "9" * 50])
    return o


def test_odd_answers(m, tmp_path):
    """A false daemon that gives the real one's answers, a little wrong."""
    r = random.Random(SEED)
    ctx = zmq.Context()
    s = ctx.socket(zmq.ROUTER)
    s.bind("ipc://%s" % (tmp_path / "odd"))
    stop = ctx.socket(zmq.PULL)
    stop.bind("inproc://stop")

    def serve():
        poller = zmq.Poller()
        poller.register(s, zmq.POLLIN)
        poller.register(stop, zmq.POLLIN)
        while stop not in dict(poller.poll()):
            who, frame = s.recv_multipart()[:2]
            q = json.loads(frame)
            args = {k: v for k, v in q.items() if k not in ("v", "id", "cmd")}
            data = b""
            try:
                with modelmap.Client(os.environ["MODELMAP_TEST_SOCKET"], timeout=60) as real:
                    if q["cmd"] in ("export", "texts_select"):  # nobody would fetch the real one's
                        body = {"bulk": {"handle": 1, "bytes": 13}, "names": ["a"], "n": 1}
                    elif q["cmd"] == "chunk":
                        body, data = {"handle": args["handle"], "offset": args["offset"], "bytes": 9}, b"\x93NUMPY\x01\0\1\0{"
                    else:
                        body = dict(real.call(q["cmd"], **args))
                whole = dict(body, v=1, id=q["id"], ok=True, cmd=q["cmd"])
            except modelmap.Refused as e:
                whole = {"v": 1, "id": q["id"], "ok": False, "error": {"code": e.code, "text": str(e)}}
            odd = mutate(r, whole)
            if isinstance(odd, dict) and r.random() < 0.9:
                odd.update(v=1, id=q["id"])
            text = json.dumps(odd).encode()
            if r.random() < 0.1:
                text = text[: r.randrange(len(text))]
            s.send_multipart([who, text] + ([data] if data else []))

    t = threading.Thread(target=serve)
    t.start()
    calls = [
        lambda c: c.status(), lambda c: c.models(), lambda c: c.near("neox-a"), lambda c: c.dist("neox-a", "qwen2-a"), lambda c: c.map(),
        lambda c: c.epochs(), lambda c: c.clip(), lambda c: c.vectors(), lambda c: c.matrix(), lambda c: c.scores(), lambda c: c.scores("qwen2-a"),
        lambda c: c.predict("qwen2-a"), lambda c: c.predict(bench="quiz"), lambda c: c.alerts(all=True), lambda c: c.queue(all=True),
        lambda c: c.tree(), lambda c: c.cluster(), lambda c: c.trajectory("qwen2-a-run"), lambda c: c.commands(), lambda c: c.texts_select(3),
        lambda c: c.metrics_compare(), lambda c: c.fisher("qwen2-a"), lambda c: c.merge_check("qwen2-a", "qwen2-a-shakespeare", "neox-a"),
        lambda c: c.trajectory("qwen2-a-run", metric="fisher"), lambda c: c.near("neox-a", metric="js"), lambda c: c.tree(metric="js"),
        lambda c: c.place([(0, -1.0, 1.0)]), lambda c: c.show("neox-a"), lambda c: c.events(timeout=0), lambda c: c.aevents(timeout=0),
    ]  # fmt: skip
    with modelmap.Client(str(tmp_path / "odd"), timeout=0.3) as c:
        for call in calls:
            for _ in range(max(3, ROUNDS // 3)):
                attempt(call, c)
    end = ctx.socket(zmq.PUSH)
    end.connect("inproc://stop")
    end.send(b"")
    t.join()
    for x in (s, stop, end):
        x.close(0)
    ctx.term()


def test_closed_while_following(endpoint):
    c = modelmap.Client(endpoint, timeout=60)
    waiting = c.events()
    assert next(c.events(timeout=0), None) is None

    async def start():
        a = c.aevents(timeout=0)
        async for _ in a:
            pass

    asyncio.run(start())
    t = threading.Timer(0.5, lambda: touch(endpoint))
    t.start()
    next(waiting)
    t.join()
    c.close()  # does not wait for the follower
    with pytest.raises(modelmap.Error, match="closed"):
        next(waiting)


def touch(endpoint):
    with modelmap.Client(endpoint, timeout=60) as c:
        a = c.alerts(all=True)[0]
        c.call("alert", action="ack" if a["state"] != "acked" else "reopen", alert=a["id"])


def test_numpy_numbers(m):
    np = pytest.importorskip("numpy")
    assert m.near("neox-a", k=np.int64(2)).rows == m.near("neox-a", k=2).rows
    assert m.near("neox-a", max_params=np.float32(1e9)).rows == m.near("neox-a", max_params=1e9).rows
    v = m.vectors()
    row = v.array[v.names.index("neox-a")]
    assert m.place([(np.int32(i), row[i], np.float64(1)) for i in range(4)])[0]["name"]
