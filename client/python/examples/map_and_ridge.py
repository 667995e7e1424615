#!/usr/bin/env python3
"""The map and the predictions, computed anew from the exported vectors with NumPy, drawn with matplotlib, and compared with
what the daemon says. Read it like a notebook.

    python3 map_and_ridge.py [ENDPOINT] [--png map.png]

1. L[i, s] is the log-likelihood of text s under model i, in nats. Clip it from below at the epoch's threshold.
2. Take the mean of each row and each column away: q_i. Then |q_i - q_j|^2 / N estimates twice the divergence KL(p_i, p_j).
3. The map is the projection of q / sqrt(N) on its first principal axes, in sqrt(nats per text).
4. A benchmark score is predicted by ridge regression on q, in its dual form: the Gram matrix is all it needs. The penalty
   is the one with the least leave-one-out error among 1, 10^0.25, ... 10^8.
"""

import argparse
import sys

import numpy as np

import modelmap


def gaps(x):
    """Distances between all rows: what a map shows, however it is turned or shifted."""
    d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    return d[np.triu_indices(len(x), 1)]


def pca(q, dims=3):
    q = q - q.mean(axis=0)
    u, s, _ = np.linalg.svd(q / np.sqrt(q.shape[1]), full_matrices=False)
    return u[:, :dims] * s[:dims], s**2 / (s**2).sum()


def ridge(q, y):
    """Predictions for all rows of q from those where y is not NaN; these get their leave-one-out prediction."""
    known = np.flatnonzero(np.isfinite(y))
    n, mean = len(known), y[known].mean()
    x = q - q[known].mean(axis=0)
    g = x @ x[known].T
    w, u = np.linalg.eigh(g[known])
    w = np.maximum(w, 0)
    best = None
    for a in 10 ** (0.25 * np.arange(33)):
        inverse = (u / (w + a)) @ u.T
        c = inverse @ (y[known] - mean)
        diagonal = np.diag(inverse) - 1 / (a * n)  # the intercept is not penalised
        error = np.where(diagonal > 1e-12 / a, c / np.where(diagonal > 0, diagonal, 1), 0)
        if best is None or (error**2).sum() < best[0]:
            best = ((error**2).sum(), c, error)
    out = mean + g @ best[1]
    out[known] = y[known] - best[2]
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("endpoint", nargs="?")
    p.add_argument("--png", default="map.png")
    a = p.parse_args()
    with modelmap.Client(a.endpoint, timeout=600) as m:
        v, clip, points = m.vectors(), m.clip(), m.map("pca")
        family = {r["name"]: r["family"] for r in m.models()}
        told = {b: m.predict(bench=b).info["predictions"] for b in m.scores().column("bench")}
        models = {n: m.scores(n) for n in v.names}

    q = v.array.astype(np.float64)
    if clip is not None:
        q = np.maximum(q, clip)
    q -= q.mean(axis=1, keepdims=True)

    # ---- the map ----
    x, share = pca(q)
    places = np.array([[points[n][k] for k in "xyz"] for n in v.names])
    scale = gaps(places).max()
    worst = np.abs(gaps(x) - gaps(places)).max() / scale
    print("%d models, axes hold %s of the variance" % (len(x), ", ".join("%.1f %%" % (100 * s) for s in share[:3])))
    # An epoch is frozen: models that came after it, or were left out of it for an alert, did not shape its axes.
    print("the map %s: distances on it differ by at most %.2g of its width" % ("agrees" if worst < 1e-4 else "differs", worst))

    # ---- predictions ----
    worst = 0.0
    for bench, rows in told.items():
        y = np.array([models[n][bench]["score"] if bench in models[n].column("bench") else np.nan for n in v.names])
        mine = ridge(q, y)
        theirs = np.array([rows[n]["prediction"] for n in v.names], dtype=float)
        worst = max(worst, np.nanmax(np.abs(mine - theirs)) / max(np.nanstd(y), 1e-12))
        print("%s:" % bench, ", ".join("%s %.3f" % (n, s) for n, s, k in zip(v.names, mine, y) if np.isnan(k)) or "no model without a score")
    if told:
        print("the predictions %s, to %.2g standard deviations of the scores" % ("agree" if worst < 1e-3 else "differ", worst))

    # ---- the picture ----
    try:
        import matplotlib
    except ImportError:
        print("no picture without matplotlib", file=sys.stderr)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 6))
    for f in sorted({family[n] or "" for n in v.names}):
        at = [i for i, n in enumerate(v.names) if (family[n] or "") == f]
        axes.scatter(places[at, 0], places[at, 1], label=f)
    for n, (px, py, _) in zip(v.names, places):
        axes.annotate(n.encode("ascii", "replace").decode().replace("\x1b", "?").replace("$", r"\$"), (px, py), fontsize=7, xytext=(3, 3), textcoords="offset points")
    axes.set_xlabel("first axis, sqrt(nats per text)")
    axes.set_ylabel("second axis")
    axes.set_aspect("equal", "datalim")
    axes.legend()
    figure.savefig(a.png, dpi=120)
    print("wrote", a.png)


if __name__ == "__main__":
    main()
