"""Client against the real daemon: every method, its figures against each other, errors, events."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser

import numpy as np
import pytest

import modelmap

EVIL = "evil?[31m<b>&name"  # the daemon has made it harmless already


def cli(*args):
    """What the command line client says to the same question."""
    out = subprocess.run(
        [os.environ["MODELMAP_TEST_CLI"], "--socket", os.environ["MODELMAP_TEST_SOCKET"], "--json", *args],
        check=True,
        capture_output=True,
    ).stdout
    return json.loads(out)


def test_status(m):
    s, told = m.status(), cli("status")
    assert s["texts"] == told["texts"] and s["models"] == told["models"] == len(m.models())
    assert isinstance(s["uptime_s"], int) and "texts" in repr(s)


@pytest.mark.parametrize(
    "ask, words, key",
    [
        (lambda m: m.models(), ["models"], "models"),
        (lambda m: m.near("neox-a", k=2), ["near", "neox-a", "-k", "2"], "neighbours"),
        (lambda m: m.map(), ["map"], "points"),
        (lambda m: m.map("tsne"), ["call", "map", "method=tsne"], "points"),
        (lambda m: m.queue(all=True), ["queue", "--all"], "jobs"),
        (lambda m: m.alerts(), ["alerts"], "alerts"),
        (lambda m: m.epochs(), ["call", "epochs"], "epochs"),
        (lambda m: m.tree(), ["call", "tree"], "models"),
        (lambda m: m.cluster("ward", 2), ["call", "cluster", "linkage=ward", "n=2"], "clusters"),
        (lambda m: m.trajectory("qwen2-a-run"), ["call", "trajectory", "run=qwen2-a-run"], "legs"),
        (lambda m: m.near("neox-a", k=2, metric="js"), ["near", "neox-a", "-k", "2", "--metric", "js"], "neighbours"),
        (lambda m: m.map("mds", metric="fisher"), ["call", "map", "method=mds", "metric=fisher"], "points"),
        (lambda m: m.tree(metric="hellinger"), ["tree", "--metric", "hellinger"], "models"),
        (lambda m: m.cluster(metric="wasserstein"), ["cluster", "--metric", "wasserstein"], "clusters"),
        (lambda m: m.predict("qwen2-a", metric="fisher"), ["predict", "qwen2-a", "--metric", "fisher"], "predictions"),
        (lambda m: m.scores(), ["call", "scores"], "benchmarks"),
        (lambda m: m.predict("qwen2-a"), ["call", "predict", "name=qwen2-a"], "predictions"),
        (lambda m: m.commands(), ["call", "commands"], "commands"),
    ],
)
def test_same_as_cli(m, ask, words, key):
    t, told = ask(m), cli(*words)
    assert isinstance(t, modelmap.Table) and len(t) > 0
    assert t.rows == told.pop(key)
    assert t.info == told
    assert repr(t).splitlines()[0].split()[0] == t.columns[0]


def test_show_and_dist(m):
    assert m.show("neox-a") == cli("show", "neox-a")
    d = m.dist("neox-a", "qwen2-a")
    assert d == cli("dist", "neox-a", "qwen2-a")
    low, high = d["interval_bits_per_byte"]
    assert low <= d["kl_bits_per_byte"] <= high
    assert m.dist("neox-a", "qwen2-a", domain="even")["domain"] == "even"


def test_vectors_and_matrix(m):
    v = m.vectors()
    a = v.array
    assert a.dtype == np.float32 and a.shape == v.shape == (len(v.names), m.status()["texts"]["n"])
    assert np.array_equal(a, np.array(v.rows(), dtype=np.float32)) and (a < 0).all()
    for name, row in zip(v.names, a):
        assert row.astype(np.float64).mean() == pytest.approx(m.show(name)["mean_loglik"], rel=1e-6)
    names, d = m.matrix()
    _, nats = m.matrix("nats_per_text")
    assert names == v.names and np.array_equal(d, d.T) and (np.diag(d) == 0).all()
    for i, a_name in enumerate(names):
        for j in range(i):
            told = m.dist(a_name, names[j])
            # float32 vectors on both sides; the sums differ in their order
            assert d[i, j] == pytest.approx(told["kl_bits_per_byte"], rel=1e-5, abs=1e-9)
            assert nats[i, j] == pytest.approx(told["kl_nats_per_text"], rel=1e-5, abs=1e-6)
        near = m.near(a_name, k=3).column("kl_bits_per_byte")
        assert near == pytest.approx(sorted(np.delete(d[i], i))[: len(near)], rel=1e-5, abs=1e-9)
    with pytest.raises(ValueError):
        m.matrix("miles")


def test_scores_and_prediction(m):
    assert {r["bench"]: r["score"] for r in m.scores("qwen2-a")} == cli("call", "scores", "name=qwen2-a")["scores"]
    t = m.predict(bench="quiz", folds=2)
    assert t["quiz"]["models"] >= 4 and isinstance(t.info["predictions"], modelmap.Table)
    p = m.predict("neox-a")["quiz"]
    assert p["interval"][0] < p["prediction"] < p["interval"][1]


def test_fewer_texts(m):
    t = m.texts_select(8, seed=1)
    assert len(t) == 8 and t.info["n"] == 8 and t.info["of"] == m.status()["texts"]["n"]
    assert t.column("index") == sorted(set(t.column("index"))) and all(w > 0 for w in t.column("weight"))
    v = m.vectors()
    row = v.rows()[v.names.index("neox-a")]
    found = m.place([(r["index"], row[r["index"]], r["weight"]) for r in t], texts=m.status()["texts"]["hash"])
    assert found[0]["name"] == "neox-a" and found[0]["kl_bits_per_byte"] < 1e-6
    assert {"pca"} <= set(found.info["places"])
    with pytest.raises(modelmap.Refused):
        m.place([(0, -1.0, 1.0), (0, -2.0, 1.0)])


# ---- metrics of next-byte distributions ----

METRICS = ["fisher", "hellinger", "jeffreys", "js", "wasserstein"]


@pytest.mark.parametrize("metric", METRICS)
def test_metrics(m, metric):
    names = m.vectors().names
    d = {}
    for a in names:
        t = m.near(a, k=100, metric=metric)
        assert t.info["metric"] == metric and t.info["complete"] and "without_features" not in t.info
        assert len(t) == len(names) - 1 and t.column("distance") == sorted(t.column("distance"))
        for r in t:
            assert 0 <= r["low"] <= r["distance"] <= r["high"] and "kl_bits_per_byte" not in r
            d[a, r["name"]] = r["distance"]
    for (a, b), v in d.items():
        assert d[b, a] == v
        if metric in ("fisher", "hellinger", "wasserstein"):
            assert all(v <= d[a, c] + d[c, b] + 1e-12 for c in names if c not in (a, b))
    assert d["bard-mini", "neox-a-shakespeare"] == 0  # copies
    one = m.dist("neox-a", "qwen2-a", metric=metric)
    assert one["distance"] == d["neox-a", "qwen2-a"] and one["unit"] == t[0]["unit"]
    assert sum(r["probes"] for r in one["domains"]) == one["probes"]
    part = m.dist("neox-a", "qwen2-a", metric=metric, domain="even")
    assert part["distance"] == [r for r in one["domains"] if r["domain"] == "even"][0]["distance"]


def test_metric_figures(m):
    t = m.metrics_compare(k=3)
    assert len(t) == 15 and t.info["metric"] == "fisher"
    assert all(-1 <= r["pearson"] <= 1 and -1 <= r["spearman"] <= 1 for r in t)
    assert len(t.info["disagree"]) == 3 and t.info["disagree"][0]["probes"]
    f = m.fisher("qwen2-a")
    assert 1 <= f["exact_dimension"] <= f["models"] and abs(sum(f["spectrum"]) - 1) < 1e-6
    assert abs(f["dimension"] - f["exact_dimension"]) < 6 * f["dimension_stderr"]
    w = m.trajectory("qwen2-a-run", metric="fisher")
    stops = w.info["checkpoints"]
    assert stops[0]["along"] == 0 and stops[len(stops) - 1]["along"] == pytest.approx(1)
    assert w.info["path"] == pytest.approx(sum(w.column("distance")))
    c = m.merge_check("qwen2-a", "qwen2-a-shakespeare", "neox-a")
    assert c["on_line"] is False and c["along_low"] <= c["along"] <= c["along_high"]
    assert m.merge_check("qwen2-a", "qwen2-a-shakespeare", "neox-a", metric="js")["on_line"] is None
    with pytest.raises(modelmap.Error):
        m.merge_check("bard-mini", "neox-a-shakespeare", "qwen2-a")


# ---- errors ----


def test_refusals_carry_the_daemons_text(m):
    with pytest.raises(modelmap.NotFound, match="neox-a") as e:
        m.show("neox-q")
    assert e.value.code == "not_found"
    with pytest.raises(modelmap.Invalid, match="outside"):
        m.near("neox-a", k=0)
    with pytest.raises(modelmap.Invalid, match='"kk"'):
        m.call("near", name="neox-a", kk=3)
    with pytest.raises(modelmap.Unsupported, match="status"):
        m.call("statu")
    with pytest.raises(modelmap.Invalid):
        m.show("x" * 70000)
    with pytest.raises(ValueError, match="cannot be sent"):
        m.call("near", name=object())
    with pytest.raises(ValueError, match="cannot be sent"):
        m.near("neox-a", max_params=float("nan"))
    assert m.status()["models"] > 0  # the connection is as good as before


def test_query_endpoint_is_read_only():
    with modelmap.Client(os.environ["MODELMAP_TEST_QUERY"], timeout=60) as q:
        assert q.status()["models"] > 0
        with pytest.raises(modelmap.Denied):
            q.call("refit")


def test_no_daemon(tmp_path, monkeypatch):
    with modelmap.Client(str(tmp_path / "nobody")) as c:
        start = time.monotonic()
        with pytest.raises(modelmap.NoDaemon, match="systemctl start"):
            c.status()
        assert time.monotonic() - start < 20  # told at once, not at the deadline
    monkeypatch.delenv("MODELMAP_SOCKET", raising=False)
    with pytest.raises(ValueError, match="no endpoint"):
        modelmap.Client("http://nonsense")
    with pytest.raises(ValueError, match="server_key"):
        modelmap.Client("tcp://127.0.0.1:9")


def test_timeout(tmp_path):
    import zmq

    silent = zmq.Context().socket(zmq.ROUTER)
    silent.bind("ipc://%s" % (tmp_path / "silent"))
    with modelmap.Client(str(tmp_path / "silent"), timeout=0.2) as c:
        with pytest.raises(modelmap.Timeout, match="0.2s"):
            c.status()
    silent.close(0)


def test_garbage_from_the_other_side(tmp_path):
    import zmq

    s = zmq.Context().socket(zmq.ROUTER)
    s.bind("ipc://%s" % (tmp_path / "odd"))
    answers = [b"{", b"[]", b'{"v":2,"id":1,"ok":true}', b'{"v":1,"id":%d,"ok":false}', b'{"v":1,"id":%d,"ok":true,"models":3}']

    def serve():
        for a in answers:
            who, q = s.recv_multipart()
            s.send_multipart([who, a % json.loads(q)["id"] if b"%d" in a else a])

    t = threading.Thread(target=serve)
    t.start()
    with modelmap.Client(str(tmp_path / "odd"), timeout=20) as c:
        for _ in answers:
            with pytest.raises(modelmap.Error):
                c.models()
    t.join()
    s.close(0)


def test_closed(endpoint):
    c = modelmap.Client(endpoint)
    c.close()
    c.close()
    with pytest.raises(modelmap.Error, match="closed"):
        c.status()
    assert "closed" in repr(c)


def test_threads_take_turns(m):
    got = []
    ts = [threading.Thread(target=lambda: got.append(m.near("neox-a")["qwen2-a"]["kl_bits_per_byte"])) for _ in range(8)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    assert len(got) == 8 and len(set(got)) == 1


# ---- events ----


def touch_alert(endpoint):
    with modelmap.Client(endpoint, timeout=60) as c:
        a = c.alerts(all=True)[0]
        c.call("alert", action="ack" if a["state"] != "acked" else "reopen", alert=a["id"])
        return a["id"]


def test_events(m, endpoint):
    t = threading.Timer(0.5, touch_alert, [endpoint])
    t.start()
    e = next(m.events("alert", timeout=60))
    t.join()
    assert e["type"] == "alert" and e["id"] == m.alerts(all=True)[0]["id"] and e["seq"] > 0
    assert list(m.events({"map"}, timeout=0.1)) == []


def test_lost_events_are_asked_for(m, endpoint):
    from modelmap.events import Order

    order = Order(lambda cmd, args: m.call(cmd, **args))
    order.start()
    for _ in range(3):
        touch_alert(endpoint)
    beat = {"type": "heartbeat", "boot": order.boot, "seq": order.seq + 3}
    got = order.take(beat)
    assert [e["type"] for e in got] == ["alert"] * 3
    assert [e["seq"] for e in got] == list(range(got[0]["seq"], got[0]["seq"] + 3))
    assert order.take(beat) == [] and order.take(dict(got[0])) == []
    order.boot = "another"
    assert [e["type"] for e in order.take(beat)] == ["resync"]
    assert order.take(beat) == []


def test_aevents(m, endpoint):
    async def main():
        async def one():
            async for e in m.aevents("alert", timeout=60):
                return e

        waiting = asyncio.ensure_future(one())
        await asyncio.sleep(0.5)
        await asyncio.get_running_loop().run_in_executor(None, touch_alert, endpoint)
        return await waiting

    assert asyncio.run(main())["type"] == "alert"


# ---- how it looks ----


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_tables_print(m):
    t = m.models()
    assert EVIL in t.column("name")
    assert "\x1b" not in repr(t) and "evil?[31m<b>&name" in repr(t)
    page = Cells()
    page.feed(t._repr_html_())
    assert set(page.tags) == {"table", "thead", "tr", "th", "tbody", "td"}  # the hostile name is text
    assert "evil?[31m<b>&name" in page.text and "neox-a" in page.text
    assert "\x1b" not in m.show("evil")._repr_html_()
    assert t["neox-a"]["family"] == "gpt_neox" and len(t[1:3]) == 2
    with pytest.raises(KeyError):
        t["nobody"]


def test_long_tables_are_cut():
    t = modelmap.Table(({"n": i} for i in range(100)), ("n",))
    assert repr(t).splitlines()[-1] == "... 40 more" and t._repr_html_().count("<tr>") == 61


def test_pandas(m):
    pytest.importorskip("pandas")
    assert list(m.models().to_pandas()["name"]) == m.models().column("name")
    assert m.matrix().to_pandas().loc["neox-a", "neox-a"] == 0


def test_command_line(endpoint, tmp_path):
    run = [sys.executable, "-m", "modelmap", "--socket"]
    r = subprocess.run(run + [endpoint, "--json"], capture_output=True)
    assert r.returncode == 0 and json.loads(r.stdout)["texts"] == cli("status")["texts"]
    assert b"version" in subprocess.run(run + [endpoint], capture_output=True).stdout
    r = subprocess.run(run + [str(tmp_path / "no")], capture_output=True)
    assert r.returncode == 3 and b"no daemon" in r.stderr
    assert subprocess.run(run + ["nonsense"], capture_output=True).returncode == 1
