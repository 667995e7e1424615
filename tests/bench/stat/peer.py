#!/usr/bin/env python3
"""The map with scikit-learn, for bench_map: peer.py VECTORS.npy OUTDIR CLIP. Prints "name seconds" lines, writes layouts
pca.npy, mds.npy, tsne.npy (f64). Exits 3 when scikit-learn is not here."""
import sys
import time

try:
    import numpy as np
    from sklearn.decomposition import PCA
    from sklearn.manifold import MDS, TSNE
    from sklearn.metrics import pairwise_distances
except ImportError:
    sys.exit(3)


def timed(name, fn):
    t = time.perf_counter()
    r = fn()
    print(name, time.perf_counter() - t, flush=True)
    return r


def main():
    x = np.load(sys.argv[1])
    out = sys.argv[2]
    clip = float(sys.argv[3])
    q = timed("clip", lambda: np.maximum(x, np.float32(np.quantile(x, clip))))

    def centre():
        c = q - q.mean(1, keepdims=True)
        return c - c.mean(0, keepdims=True)

    q = timed("centre", centre)
    d = timed("distances", lambda: pairwise_distances(q.astype(np.float64)))
    p = timed("pca", lambda: PCA(3, svd_solver="randomized", random_state=0).fit_transform(q))
    scale = 1 / np.sqrt(q.shape[1])
    np.save(out + "/pca.npy", (p[:, :2] * scale).astype(np.float64))
    per = min(30, (len(q) - 1) / 3)
    tsne = TSNE(2, perplexity=per, init="pca", learning_rate="auto", n_iter=1000, random_state=0, n_jobs=-1)
    np.save(out + "/tsne.npy", timed("tsne", lambda: tsne.fit_transform(q)).astype(np.float64))
    print("tsne_kl", tsne.kl_divergence_)
    if "mds" in sys.argv[4:]:
        mds = MDS(2, dissimilarity="precomputed", n_init=4, max_iter=300, random_state=0, n_jobs=1)
        np.save(out + "/mds.npy", timed("mds", lambda: mds.fit_transform(d * scale)))
        print("mds_stress", mds.stress_)


main()
