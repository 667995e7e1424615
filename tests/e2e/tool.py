#!/usr/bin/env python3
"""tool.py - small things for the end-to-end scripts, with Python's own library only.

  texts FILE N              the first N pieces of a text file as a text set (JSONL)
  q EXPR                    exit status 0 when the expression is true for `d`, the JSON on standard input
  row V.npy V.txt NAME ONE.npy       the row NAME of V equals the one vector, to rounding of float32
  vectors V.npy V.txt REF.npy REF.txt TOLERANCE    all rows of REF, and the nearest neighbours
  weights DIR N             changes a few weights, N different ways (another model of the same shape)
  shard DIR PARTS           model.safetensors becomes PARTS shards and an index, in place
  drop DIR TENSOR           removes a tensor
  shuffle DIR PART          exchanges the elements of each matrix whose name holds PART (16-bit weights)
  f16 DIR LIMIT             bf16 weights become f16, cut at +-LIMIT: a conversion that overflowed
  some FILE N DOMAIN...     N texts of each of these domains out of a text set
  leaks TRUTH.json          the answer of `alerts --all` on standard input names the leaked models, nobody else, and their texts
  config DIR KEY JSON       sets a key of config.json
  piece SRC DST FROM TO     writes that part (percent) of SRC to its place in DST
  mapped SRC DST GO         sets the length, writes half through a mapping, the rest when GO is there, then closes
  believe                   the probe's answer on standard input, with every "waiting" made "ready"
"""
import json
import math
import mmap
import os
import random
import struct
import sys
import time


def npy(path):
    with open(path, "rb") as f:
        data = f.read()
    assert data[:6] == b"\x93NUMPY", path
    n = struct.unpack("<H", data[8:10])[0]
    head = eval(data[10 : 10 + n].decode("latin1"), {"__builtins__": {}}, {"True": True, "False": False})
    assert not head["fortran_order"]
    kind = {"<f4": "f", "<f8": "d", "<u4": "I"}[head["descr"]]
    count = 1
    for k in head["shape"]:
        count *= k
    return head["shape"], struct.unpack("<%d%s" % (count, kind), data[10 + n : 10 + n + count * struct.calcsize(kind)])


def rows(npy_path, names_path):
    (k, n), v = npy(npy_path)
    names = [s.rstrip("\n") for s in open(names_path)]
    assert len(names) == k, "%d names, %d rows" % (len(names), k)
    assert len(set(names)) == k, "a name twice"
    return {name: v[i * n : (i + 1) * n] for i, name in enumerate(names)}


def texts(path, n):
    s = open(path).read()
    size = 450
    for i in range(int(n)):
        print(json.dumps({"text": s[i * size : (i + 1) * size], "domain": "even" if i % 2 == 0 else "odd"}))


def q(expr):
    try:
        d = json.load(sys.stdin)
    except ValueError:
        return 1
    return 0 if eval(expr, {"d": d}) else 1  # globals: comprehensions see them


def row(v, names, name, one):
    got = rows(v, names).get(name)
    if got is None:
        print("%s is not exported" % name)
        return 1
    want = npy(one)[1]
    worst = max(abs(a - b) for a, b in zip(got, want)) if len(got) == len(want) else math.inf
    if worst > 1e-3:  # float32 of sums of some thousand: the last bits
        print("%s differs by %g nats" % (name, worst))
    return worst > 1e-3


def nearest(r, names):
    # as the map does it: below the clip threshold all values count the same
    flat = sorted(x for n in names for x in r[n])
    at = 0.02 * (len(flat) - 1)
    lo = flat[int(at)] + (at - int(at)) * (flat[min(int(at) + 1, len(flat) - 1)] - flat[int(at)])
    c = {}
    for n in names:
        v = [max(x, lo) for x in r[n]]
        m = sum(v) / len(v)
        c[n] = [x - m for x in v]
    return {a: sorted((sum((x - y) ** 2 for x, y in zip(c[a], c[b])), b) for b in names if b != a) for a in names}


def vectors(v, names, ref, ref_names, tol):
    got, want, bad = rows(v, names), rows(ref, ref_names), 0
    worst = 0.0
    for name, w in want.items():
        if name not in got:
            print("%s is missing" % name)
            bad = 1
            continue
        worst = max(worst, max(abs(a - b) for a, b in zip(got[name], w)))
    print("largest difference of a text: %.6f nats (%d models)" % (worst, len(want)))
    return bad or worst > float(tol)


def near(ref, ref_names, answers):
    """answers: {"model": [names, nearest first]} of the daemon on standard input; ties within float32 may swap."""
    want = rows(ref, ref_names)
    near_to = nearest(want, sorted(want))
    got = json.load(open(answers))
    for name in want:
        d = dict((b, a) for a, b in near_to[name])
        order = [n for n in got[name] if n in want and n != name]
        best = near_to[name][0]
        if not order or d[order[0]] > best[0] * (1 + 1e-4) + 1e-3:
            print("%s: the nearest is %s, not %s" % (name, best[1], order[:1]))
            return 1
    return 0


def read_st(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + n]), data[8 + n :]


def write_st(path, head, body):
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


def pack(tensors, meta):
    head, body = ({"__metadata__": meta} if meta else {}), b""
    for name, (info, data) in tensors:
        head[name] = {"dtype": info["dtype"], "shape": info["shape"], "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    return head, body


def tensors_of(dir):
    head, body = read_st(os.path.join(dir, "model.safetensors"))
    meta = head.pop("__metadata__", None)
    return [(k, (v, body[v["data_offsets"][0] : v["data_offsets"][1]])) for k, v in head.items()], meta


def weights(dir, n):
    path = os.path.join(dir, "model.safetensors")
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        for i in range(40):  # the high byte of some values in the last matrices: a sign here and there
            at = size - 1 - 2 * (i * 97 + int(n) * 13)
            f.seek(at)
            b = f.read(1)[0]
            f.seek(at)
            f.write(bytes([b ^ 0x80]))


def shard(dir, parts):
    tensors, meta = tensors_of(dir)
    parts = int(parts)
    total, index = 0, {}
    for p in range(parts):
        name = "model-%05d-of-%05d.safetensors" % (p + 1, parts)
        mine = tensors[p * len(tensors) // parts : (p + 1) * len(tensors) // parts]
        head, body = pack(mine, meta)
        write_st(os.path.join(dir, name), head, body)
        total += len(body)
        index.update((k, name) for k, _ in mine)
    with open(os.path.join(dir, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": index}, f)
    os.unlink(os.path.join(dir, "model.safetensors"))


def drop(dir, tensor):
    tensors, meta = tensors_of(dir)
    head, body = pack([t for t in tensors if t[0] != tensor], meta)
    assert len(head) < len(tensors) + bool(meta), tensor
    write_st(os.path.join(dir, "model.safetensors"), head, body)


def shuffle(dir, part):
    tensors, meta = tensors_of(dir)
    rng, out = random.Random(5), []
    for name, (info, data) in tensors:
        if part in name and len(info["shape"]) == 2:
            v = list(struct.unpack("<%dH" % (len(data) // 2), data))
            rng.shuffle(v)
            data = struct.pack("<%dH" % len(v), *v)
        out.append((name, (info, data)))
    write_st(os.path.join(dir, "model.safetensors"), *pack(out, meta))


def f16(dir, limit):
    tensors, meta = tensors_of(dir)
    limit, out = float(limit), []
    for name, (info, data) in tensors:
        wide = b"".join(b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2))  # bf16 is the upper half of f32
        v = [min(max(x, -limit), limit) for x in struct.unpack("<%df" % (len(wide) // 4), wide)]
        out.append((name, ({"dtype": "F16", "shape": info["shape"]}, struct.pack("<%de" % len(v), *v))))
    write_st(os.path.join(dir, "model.safetensors"), *pack(out, meta))
    config(dir, "torch_dtype", '"float16"')


def some(path, n, *domains):
    left = {d: int(n) for d in domains}
    for line in open(path):
        d = json.loads(line)["domain"]
        if left.get(d, 0) > 0:
            left[d] -= 1
            print(line, end="")


def leaks(truth):
    truth = json.load(open(truth))
    want = {m for m, t in truth.items() if t["kind"] == "leaked"}
    got = {a["model"]: a for a in json.load(sys.stdin)["alerts"] if a["kind"] == "leak"}
    bad = 0
    for m in sorted(want ^ set(got)):
        print("%s: %s" % (m, "not found" if m in want else "blamed"))
        bad = 1
    for m in sorted(want & set(got)):
        said = {x["index"] for x in got[m]["evidence"]["suspect_texts"]}
        saw = set(truth[m]["leaked_texts"])
        precision, recall = len(said & saw) / max(1, len(said)), len(said & saw) / max(1, len(saw))
        print("%s: %s, precision %.2f, recall %.2f" % (m, got[m]["state"], precision, recall))
        bad = bad or got[m]["state"] != "open" or precision < 0.8 or recall < 0.8
    return int(bad)


def config(dir, key, value):
    path = os.path.join(dir, "config.json")
    c = json.load(open(path))
    c[key] = json.loads(value)
    json.dump(c, open(path, "w"), indent=1)


def piece(src, dst, begin, end):
    size = os.path.getsize(src)
    begin, end = size * int(begin) // 100, size * int(end) // 100
    with open(src, "rb") as f:
        f.seek(begin)
        data = f.read(end - begin)
    fd = os.open(dst, os.O_WRONLY | os.O_CREAT, 0o644)
    os.pwrite(fd, data, begin)
    os.close(fd)


def mapped(src, dst, go):
    data = open(src, "rb").read()
    with open(dst, "w+b") as f:
        f.truncate(len(data))
        with mmap.mmap(f.fileno(), len(data)) as m:
            half = len(data) // 2
            m[:half] = data[:half]
            while not os.path.exists(go):
                time.sleep(0.02)
            m[half:] = data[half:]


def metrics(truth):
    """Lines "METRIC", a tab and near's JSON for each healthy model on standard input: axioms, same weights, bases."""
    truth = json.load(open(truth))
    d, bad = {}, 0
    for line in sys.stdin:
        metric, text = line.split("\t", 1)
        a = json.loads(text)
        d.setdefault(metric, {})[a["model"]] = {n["name"]: n["distance"] for n in a["neighbours"] if n["name"] in truth}
    for metric, of in sorted(d.items()):
        names = sorted(of)
        all_of = sorted(of[a][b] for a in names for b in names if a < b)
        usual = all_of[len(all_of) // 2]
        for a in names:
            for b in names:
                if a == b:
                    continue
                if of[a][b] != of[b][a]:
                    bad += print("%s: %s and %s are not as far as %s and %s" % (metric, a, b, b, a)) is None
                # js and jeffreys are squares in small: no triangle
                if metric in ("fisher", "hellinger", "wasserstein"):
                    far = [c for c in names if c not in (a, b) and of[a][b] > of[a][c] + of[c][b] + 1e-12]
                    bad += far and print("%s: %s, %s, %s: no triangle" % (metric, a, far[0], b)) is None or 0
        if of["bard-mini"]["neox-a-shakespeare"] != 0:
            bad += print("%s: copies are apart" % metric) is None
        # rounding of the weights to bf16: a hundredth of what is usual between two models
        if of["mistral-a"]["mistral-a-fp32"] > 0.01 * usual:
            bad += print("%s: the same weights are %g apart, usual is %g" % (metric, of["mistral-a"]["mistral-a-fp32"], usual)) is None
        base = sum(truth[min(of[a], key=of[a].get)]["base"] == truth[a]["base"] for a in names)
        print("%s: nearest of the same base %d of %d; f32 and bf16 %.2g of the median distance" % (
            metric, base, len(names), of["mistral-a"]["mistral-a-fp32"] / usual))
        if base < 0.85 * len(names):
            bad += 1
    return bad or len(d) != 5


def believe():
    d = json.load(sys.stdin)
    if d["state"] == "waiting":
        d["state"] = "ready"
        d.pop("reason", None)
        d["quick"] = "%032x" % (abs(hash(json.dumps(d.get("files", [])))) + 1)
        d.setdefault("files", []).append({"name": "x", "bytes": 1, "mtime_ns": 1, "ino": 1})
    print(json.dumps(d))


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](*sys.argv[2:]) or 0)
