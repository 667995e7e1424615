"""Client: the daemon's questions as methods. Units: log-likelihoods are nats per text, distances Kullback-Leibler divergences
in bits per byte (or nats per text where the key says so), times unix seconds, sizes bytes."""

from __future__ import annotations

import ast
import json
import math
import operator
import os
import struct
import sys
from array import array as numbers
from types import TracebackType
from typing import TYPE_CHECKING, Any, AsyncIterator, Collection, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Type, Union

from .conn import Conn, brief, seconds
from .errors import Protocol
from .events import TYPES, afollow, follow
from .tables import Record, Table

if TYPE_CHECKING:
    import numpy
    import numpy.typing

    FloatArray = numpy.typing.NDArray[numpy.float64]
    Float32Array = numpy.typing.NDArray[numpy.float32]

Types = Union[None, str, Collection[str]]

_MODELS = ("name", "state", "family", "params", "dtype", "bits_per_byte", "run", "step", "reason")
_NEAR = ("name", "kl_bits_per_byte", "family", "params", "dtype")
_POINTS = ("name", "x", "y", "z", "family", "run", "step")
_JOBS = ("model", "state", "progress", "eta_s", "reason", "id")
_ALERTS = ("id", "severity", "kind", "model", "state", "message")
_BENCH = ("bench", "models", "min", "max", "mean")
_PREDICT = ("bench", "prediction", "stderr", "interval", "outside", "score", "models")
_FOR_ALL = ("name", "prediction", "stderr", "interval", "outside", "score")
_QUALITY = ("bench", "models", "constant", "alpha", "random", "by_family")
_EPOCHS = ("epoch", "made_at", "method", "models", "clip")
_TREE = ("name", "kind", "base", "parent", "kl_bits_per_byte", "parent2", "alpha", "support")
_CLUSTERS = ("name", "middle", "silhouette", "members")
_LEGS = ("from", "to", "from_step", "to_step", "kl_bits_per_byte", "turn_degrees")
_TEXTS = ("index", "weight", "domain", "text")
_DISTANCES = ("name", "distance", "low", "high", "unit", "family", "params", "dtype")
_METRIC_TREE = ("name", "kind", "base", "parent", "distance", "parent2", "alpha", "support")
_METRIC_LEGS = ("from", "to", "from_step", "to_step", "distance", "low", "high", "heading_degrees")
_CHECKPOINTS = ("name", "step", "along", "off", "to_last")
_CORRELATIONS = ("a", "b", "pearson", "spearman")
_DISAGREE = ("a", "b", "kl_rank", "rank", "domain", "kl_bits_per_byte", "distance")
_PLACE = ("name", "kl_bits_per_byte", "stderr_bits_per_byte", "interval_bits_per_byte")
_COMMANDS = ("name", "access", "help")


class Vectors(NamedTuple):
    """Log-likelihood vectors, nats per text: `names` are those of the rows, `data` little-endian float32, [models, texts]."""

    names: List[str]
    shape: Tuple[int, int]
    data: bytes

    @property
    def array(self) -> Float32Array:
        """As a NumPy array [models, texts] that may be written to; needs NumPy."""
        import numpy

        return numpy.frombuffer(self.data, dtype="<f4").reshape(self.shape).astype(numpy.float32)

    def rows(self) -> List[numbers[float]]:
        """As lists of numbers, without NumPy."""
        a = numbers("f")
        a.frombytes(self.data)
        if sys.byteorder != "little":
            a.byteswap()
        n = self.shape[1]
        return [a[i * n : (i + 1) * n] for i in range(self.shape[0])]

    def __repr__(self) -> str:
        return "Vectors of %d models on %d texts" % self.shape


class Matrix(NamedTuple):
    """Distances: `names` are those of rows and columns, `values` a NumPy array [models, models]."""

    names: List[str]
    values: FloatArray

    def to_pandas(self) -> Any:
        """A pandas.DataFrame with names on both sides; needs pandas."""
        import pandas

        return pandas.DataFrame(self.values, index=self.names, columns=self.names)


def _rows(cmd: str, body: Dict[str, Any], key: str) -> List[Dict[str, Any]]:
    """Takes a list of objects out of a reply."""
    rows = body.pop(key, None)
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise Protocol("%s: the reply has no list of objects \"%s\"" % (cmd, key))
    return rows


def _npy(data: bytes) -> Tuple[Tuple[int, int], bytes]:
    """Shape and values of a two-dimensional float32 array in NumPy's .npy format, version 1.0."""
    if data[:8] != b"\x93NUMPY\x01\x00" or len(data) < 10:
        raise Protocol("export: not an .npy file")
    size = struct.unpack("<H", data[8:10])[0]
    try:
        head = ast.literal_eval(data[10 : 10 + size].decode("latin1").strip())
        rows, cols = (int(n) for n in head["shape"])
    except (ValueError, SyntaxError, KeyError, TypeError):
        raise Protocol("export: the .npy header cannot be read") from None
    body = data[10 + size :]
    if head.get("descr") != "<f4" or head.get("fortran_order") or len(body) != 4 * rows * cols:
        raise Protocol("export: not a float32 array of the size that its header says")
    return (rows, cols), body


class Client:
    """A connection to modelmapd.

    endpoint    a path, ipc:///path or tcp://host:port; None: $MODELMAP_SOCKET, the user's own daemon, the system's
    timeout     seconds for an answer; None waits for ever. Every method's daemon side may take long (refits do not hold up
                questions, but `tree`, `cluster` and `predict` compute)
    server_key  tcp: the daemon's public CURVE key, Z85 or a file with it ($MODELMAP_SERVER_KEY)
    key         tcp: one's own secret key, Z85 or a file with it ($MODELMAP_KEY)

    A context manager. May be used from several threads; they take turns. Raises modelmap.Error and its children."""

    def __init__(
        self,
        endpoint: Union[None, str, "os.PathLike[str]"] = None,
        *,
        timeout: Optional[float] = 30.0,
        server_key: Optional[str] = None,
        key: Optional[str] = None,
    ) -> None:
        self._conn = Conn(endpoint, timeout, server_key, key)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, t: Optional[Type[BaseException]], e: Optional[BaseException], tb: Optional[TracebackType]) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<modelmap.Client %s%s>" % (self.endpoint, " (closed)" if self._conn.closed else "")

    @property
    def endpoint(self) -> str:
        """Where this client asks."""
        return self._conn.url

    def close(self) -> None:
        """Ends the connection; more than once is fine."""
        self._conn.close()

    # ---- any command ----

    def call(self, cmd: str, **args: Any) -> Record:
        """Any command of the protocol; arguments that are None are left out. The reply's body."""
        return Record(self._conn.call(cmd, {k: v for k, v in args.items() if v is not None})[0])

    def _table(self, cmd: str, key: str, columns: Tuple[str, ...], **args: Any) -> Table:
        body = self.call(cmd, **args)
        return Table(_rows(cmd, body, key), columns, body)

    def commands(self) -> Table:
        """The daemon's own table of commands."""
        return self._table("commands", "commands", _COMMANDS)

    # ---- the daemon ----

    def status(self) -> Record:
        """Version, uptime_s, texts {n, hash, mean_bytes}, queue counts, models on the map, epoch, open alerts."""
        return self.call("status")

    def queue(self, all: bool = False) -> Table:
        """Jobs: running, queued, waiting, failed; all: finished and cancelled ones too. progress is a share from 0 to 1,
        eta_s seconds."""
        return self._table("queue", "jobs", _JOBS, all=all or None)

    def alerts(self, all: bool = False, kind: Optional[str] = None, since: Optional[int] = None) -> Table:
        """Alerts that are open or acknowledged; all: resolved ones too; since: changed since, unix seconds."""
        return self._table("alerts", "alerts", _ALERTS, all=all or None, kind=kind, since=since)

    # ---- models ----

    def models(self) -> Table:
        """Every model: state, family, params, bytes, bits_per_byte, mean_loglik (nats per text), run, step, ..."""
        return self._table("models", "models", _MODELS)

    def show(self, name: str) -> Record:
        """Everything known about one model. A name may be any part that only one model has."""
        return self.call("show", name=name)

    def near(
        self,
        name: str,
        k: Optional[int] = None,
        *,
        family: Optional[str] = None,
        dtype: Optional[str] = None,
        max_params: Optional[float] = None,
        max_bytes: Optional[float] = None,
        smaller: bool = False,
        domain: Optional[str] = None,
        metric: Optional[str] = None,
    ) -> Table:
        """The k (10) nearest relatives, nearest first: kl_bits_per_byte, kl_nats_per_text. Bounds in parameters and bytes of
        weights; smaller: with fewer parameters than the model itself; domain: on the texts of that domain alone.

        metric, here and below: kl (default), or fisher, hellinger, jeffreys, js, wasserstein, which compare distributions of the
        next byte and so any two models. These give distance, low and high (95 %) and unit in place of kl_bits_per_byte; models
        without features are in info["without_features"], and Refused is raised when the model itself has none."""
        return self._table(
            "near",
            "neighbours",
            _NEAR if metric in (None, "kl") else _DISTANCES,
            name=name,
            k=k,
            family=family,
            dtype=dtype,
            max_params=max_params,
            max_bytes=max_bytes,
            smaller=smaller or None,
            domain=domain,
            metric=metric,
        )

    def dist(self, a: str, b: str, *, domain: Optional[str] = None, metric: Optional[str] = None) -> Record:
        """Distance of two models: kl_bits_per_byte, its stderr_bits_per_byte and 95 % interval_bits_per_byte, the same in nats
        per text, and for every domain of the texts."""
        return self.call("dist", a=a, b=b, domain=domain, metric=metric)

    def trajectory(self, run: str, *, metric: Optional[str] = None) -> Table:
        """The legs of a training run, checkpoint by checkpoint; info has path and distance in sqrt(nats per text), or in the
        metric's unit. By a metric info["checkpoints"] says how far along the way from the first to the last each one is and
        how far off it (shares of its length); by fisher heading_degrees is the angle between a leg and the way to the last."""
        if metric in (None, "kl"):
            return self._table("trajectory", "legs", _LEGS, run=run, metric=metric)
        t = self._table("trajectory", "legs", _METRIC_LEGS, run=run, metric=metric)
        t.info["checkpoints"] = Table(_rows("trajectory", dict(t.info), "checkpoints"), _CHECKPOINTS)
        return t

    def tree(self, *, domain: Optional[str] = None, metric: Optional[str] = None) -> Table:
        """The likely parent of every model: kind is root, child, checkpoint, merge or copy."""
        return self._table("tree", "models", _TREE if metric in (None, "kl") else _METRIC_TREE, domain=domain, metric=metric)

    def cluster(
        self,
        linkage: Optional[str] = None,
        n: Optional[int] = None,
        *,
        domain: Optional[str] = None,
        metric: Optional[str] = None,
    ) -> Table:
        """Hierarchical clusters; linkage is average (default), ward or complete. info has newick and merges (heights in
        sqrt(nats per text))."""
        return self._table("cluster", "clusters", _CLUSTERS, linkage=linkage, n=n, domain=domain, metric=metric)

    # ---- metrics of next-byte distributions ----

    def metrics_compare(self, metric: Optional[str] = None, k: Optional[int] = None) -> Table:
        """Correlations of all pairs of metrics over all pairs of models (and in "domains" for each domain); info["disagree"] has
        the k (10) pairs of models that kl and the metric (fisher) see most differently, info["same_nearest"] the share of models
        with the same nearest one by both."""
        t = self._table("metrics_compare", "correlations", _CORRELATIONS, metric=metric, k=k)
        t.info["disagree"] = Table(_rows("metrics_compare", dict(t.info), "disagree"), _DISAGREE)
        return t

    def fisher(self, name: str, *, domain: Optional[str] = None) -> Record:
        """The Fisher metric in the directions from a model to the others: dimension (effective) and trace (mean squared distance,
        rad^2), each with its standard error; spectrum: the largest eigenvalues as shares of the trace."""
        return self.call("fisher", name=name, domain=domain)

    def merge_check(self, a: str, b: str, merged: str, *, metric: Optional[str] = None) -> Record:
        """Does a merge lie on the line from a to b? along and off_line are shares of its length, with 95 % intervals along_low,
        along_high, off_line_low, off_line_high; on_line: as merges do (by kl; None by other metrics)."""
        return self.call("merge_check", a=a, b=b, merged=merged, metric=metric)

    # ---- the map ----

    def map(
        self,
        method: Optional[str] = None,
        *,
        epoch: Optional[int] = None,
        dim: Optional[int] = None,
        domain: Optional[str] = None,
        metric: Optional[str] = None,
    ) -> Table:
        """Places of all models: x, y, z in the unit that info["unit"] names. method is pca, mds or tsne; dim (2 or 3) is for
        the latter two; info has epoch, explained and the quality of the layouts."""
        return self._table("map", "points", _POINTS, method=method, epoch=epoch, dim=dim, domain=domain, metric=metric)

    def epochs(self) -> Table:
        """The epochs of the map; displacement says how far models moved between them."""
        return self._table("epochs", "epochs", _EPOCHS)

    def vectors(self) -> Vectors:
        """The log-likelihood vectors of all models on the map, nats per text, not clipped, as float32."""
        body, data = self._conn.bulk("export", {"what": "vectors"})
        shape, values = _npy(data)
        told = body.get("names")
        names = [str(n) for n in told] if isinstance(told, list) else []
        if len(names) != shape[0]:
            raise Protocol("export: %d names for %d vectors" % (len(names), shape[0]))
        return Vectors(names, shape, values)

    def clip(self) -> Optional[float]:
        """The threshold, nats per text, that log-likelihoods are clipped at in the current epoch; None: no epoch yet."""
        t = self.epochs()
        for e in t:
            if e.get("epoch") == t.info.get("epoch"):
                clip = e.get("clip")
                if clip is not None and not isinstance(clip, (int, float)):
                    raise Protocol("epochs: clip is no number")
                return clip
        return None

    def matrix(self, unit: str = "bits_per_byte") -> Matrix:
        """Distances of all models on the map, computed here from the clipped vectors: Kullback-Leibler divergences in bits
        per byte, or with unit "nats_per_text" in those. Needs NumPy; [models, models] float64, symmetric, zero diagonal."""
        import numpy

        if unit not in ("bits_per_byte", "nats_per_text"):
            raise ValueError("unit is bits_per_byte or nats_per_text, not %s" % brief(unit))
        clip, v = self.clip(), self.vectors()
        scale = 1.0
        if unit == "bits_per_byte":
            texts = self.status().get("texts")
            mean = texts.get("mean_bytes") if isinstance(texts, dict) else None
            if not isinstance(mean, (int, float)) or mean <= 0:
                raise Protocol("status: the mean length of the texts is missing")
            scale = 1 / (mean * math.log(2))
        q = v.array.astype(numpy.float64)
        if clip is not None:
            numpy.maximum(q, clip, out=q)
        q -= q.mean(axis=1, keepdims=True)
        if len(q):
            q -= q.mean(axis=0)  # drops out of every difference, and keeps the products below small
        gram = q @ q.T / max(v.shape[1], 1)
        own = numpy.diag(gram)
        d = numpy.maximum(own[:, None] + own[None, :] - 2 * gram, 0) * (0.5 * scale)
        numpy.fill_diagonal(d, 0.0)
        return Matrix(v.names, (d + d.T) / 2)

    # ---- benchmark scores ----

    def scores(self, name: Optional[str] = None) -> Table:
        """Benchmarks with known scores (models, min, max, mean), or with a name the scores of that model."""
        if name is None:
            return self._table("scores", "benchmarks", _BENCH)
        body = self.call("scores", name=name)
        known = body.pop("scores", None)
        if not isinstance(known, dict):
            raise Protocol("scores: the reply has no object \"scores\"")
        return Table([{"bench": b, "score": s} for b, s in known.items()], ("bench", "score"), body)

    def predict(
        self,
        name: Optional[str] = None,
        *,
        bench: Optional[str] = None,
        folds: Optional[int] = None,
        seed: Optional[int] = None,
        domain: Optional[str] = None,
        metric: Optional[str] = None,
    ) -> Table:
        """With a name: every benchmark of that model, predicted, with its 95 % interval. Without: how well each benchmark can
        be predicted; with bench, and info["predictions"] has that of every model. In the unit of the scores."""
        args: Dict[str, Any] = {"bench": bench, "folds": folds, "seed": seed, "domain": domain, "metric": metric}
        if name is not None:
            return self._table("predict", "predictions", _PREDICT, name=name, **args)
        t = self._table("predict", "benchmarks", _QUALITY, **args)
        if "predictions" in t.info:
            t.info["predictions"] = Table(_rows("predict", dict(t.info), "predictions"), _FOR_ALL)
        return t

    # ---- fewer texts ----

    def texts_select(self, n: int, *, by: Optional[str] = None, seed: Optional[int] = None) -> Table:
        """n texts that keep the distances, drawn by kl (default), length or uniform: index (in the whole set), weight, text,
        domain. info["expected_error"] is the relative error to expect of a distance."""
        args = {k: v for k, v in {"n": n, "by": by, "seed": seed}.items() if v is not None}
        body, data = self._conn.bulk("texts_select", args)
        body.pop("bulk", None)
        try:
            rows = [json.loads(line) for line in data.decode().split("\n") if line]
        except (ValueError, RecursionError) as e:
            raise Protocol("texts_select: %s" % e) from None
        return Table(_rows("texts_select", {"texts": rows}, "texts"), _TEXTS, body)

    def place(self, values: Iterable[Tuple[int, float, float]], *, texts: Optional[str] = None) -> Table:
        """Where a model belongs that was scored on some texts only: values are (index of the text, log-likelihood in nats,
        weight), ascending. Its neighbours; info["places"] has x, y, z in each layout; texts: hash of the whole set."""
        if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise TypeError("values are several (index of the text, log-likelihood, weight), not %s" % type(values).__name__)
        text = " ".join(_triple(at, t) for at, t in enumerate(values))
        return self._table("place", "neighbours", _PLACE, values=text, texts=texts)

    # ---- events ----

    def events(self, types: Types = None, timeout: Optional[float] = None) -> Iterator[Record]:
        """What happens from now on, in order and without loss: model, job, alert, map, status; `types`: these only. After
        something was lost for good (the daemon was started anew) an event of type "resync" says to read the state again.
        Ends after `timeout` seconds without such an event; None: never. NoDaemon when the daemon gives no sign of life."""
        return follow(self._conn, _types(types), seconds(timeout, "timeout", 0))

    def aevents(self, types: Types = None, timeout: Optional[float] = None) -> AsyncIterator[Record]:
        """The same for asyncio: `async for event in client.aevents(): ...`"""
        return afollow(self._conn, _types(types), seconds(timeout, "timeout", 0))


def _types(types: Types) -> Optional[Collection[str]]:
    if types is None:
        return None
    wanted = {types} if isinstance(types, str) else types
    try:
        odd = [t for t in wanted if t not in TYPES]
    except TypeError:
        raise TypeError("types is None, one of %s, or several of them, not %s" % (", ".join(TYPES), brief(types))) from None
    if odd:
        raise ValueError("%s is no type of event; there are %s" % (brief(odd[0]), ", ".join(TYPES)))
    return set(wanted)


def _triple(at: int, value: Tuple[int, float, float]) -> str:
    try:
        i, v, w = value
        return "%d:%.9g:%.9g" % (operator.index(i), v, w)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("values[%d] is %s; expected (index of the text, log-likelihood, weight)" % (at, brief(value))) from None
