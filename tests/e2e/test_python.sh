#!/bin/bash
# The Python package against the real daemon: its own tests (pytest), types (mypy --strict where it is there), CURVE, and the
# example, whose map and predictions are computed anew from the vectors.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
python=""
for p in python3 /usr/bin/python3; do
	if "$p" -c 'import zmq, numpy, pytest' 2>/dev/null; then python=$p; break; fi
done
if [ -z "$python" ]; then
	echo "skip: no Python with pyzmq, NumPy and pytest (Debian: python3-zmq python3-numpy python3-pytest)"
	exit 77
fi
e2e_begin python
export PYTHONPATH=$top/client/python PYTHONDONTWRITEBYTECODE=1

if command -v mypy >/dev/null; then
	(cd client/python && mypy --strict --no-incremental --cache-dir=/dev/null modelmap >"$work/mypy") || fail "mypy: $(cat "$work/mypy")"
else
	echo "note: no mypy here, types are not checked"
fi

e2e_config "query: ipc://$work/query"
e2e_start
for m in qwen2-a qwen2-a-shakespeare qwen2-a-run neox-a neox-a-shakespeare bard-mini; do copy "$fixtures/$m" "$m"; done
copy "$fixtures/mistral-a-nan" broken
copy "$fixtures/qwen2-a-perl" $'evil\e[31m<b>&name'
mm watch --until-idle --models 9 --timeout 300s >/dev/null || fail "the models are not scored"
printf 'model,quiz,sums\nqwen2-a,0.5,3\nqwen2-a-shakespeare,0.25,1\nneox-a-shakespeare,0.3,1\nbard-mini,0.2,2\nqwen2-a-run/checkpoint-200,0.35,1\n' >"$work/s.csv"
mm scores import "$work/s.csv" >/dev/null || fail "scores import"
mm refit >/dev/null || fail "refit"
export MODELMAP_TEST_SOCKET=ipc://$work/control MODELMAP_TEST_QUERY=ipc://$work/query MODELMAP_TEST_CLI=$bin/modelmap
"$python" -m pytest -q --tb=short -p no:cacheprovider client/python/tests >"$work/pytest" 2>&1 || fail "pytest: $(tail -n 60 "$work/pytest")"
tail -n 1 "$work/pytest"

# ---- the example finds the daemon's figures by itself ----
"$python" client/python/examples/map_and_ridge.py "$MODELMAP_TEST_SOCKET" --png "$work/map.png" >"$work/example" 2>&1 ||
	fail "the example: $(cat "$work/example")"
grep -q '^the map agrees' "$work/example" && grep -q '^the predictions agree' "$work/example" || fail "the example: $(cat "$work/example")"
if "$python" -c 'import matplotlib' 2>/dev/null; then
	[ "$(head -c 4 "$work/map.png" | tail -c 3)" = PNG ] || fail "the example's picture"
fi
e2e_stop

# ---- without NumPy everything but arrays works ----
"$python" - <<'END' || fail "without NumPy"
import sys
sys.modules["numpy"] = None
import modelmap
from modelmap.client import Vectors
v = Vectors(["a"], (1, 2), b"\0\0\x80\xbf\0\0\0\xc0")
assert [list(r) for r in v.rows()] == [[-1.0, -2.0]]
try:
    v.array
except ImportError:
    pass
else:
    sys.exit("numpy came from somewhere")
END

# ---- over tcp: only with a key of the list ----
if "$bin/modelmap" keygen "$work/server" >"$work/server.pub" 2>/dev/null; then
	for who in reader stranger; do "$bin/modelmap" keygen "$work/$who" >"$work/$who.pub"; done
	echo "$(cat "$work/reader.pub") read reader" >"$work/keys"
	port=$(python3 -c "import socket; s=socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
	e2e_config "query: tcp://127.0.0.1:$port" "curve: { server_secret: $work/server, client_keys: $work/keys }"
	e2e_start
	"$python" - "tcp://127.0.0.1:$port" "$work" <<'END' || fail "CURVE"
import sys
import modelmap
url, work = sys.argv[1:]
server = open(work + "/server.pub").read().strip()
with modelmap.Client(url, server_key=server, key=work + "/reader", timeout=60) as m:
    assert m.models()["neox-a"]["state"] == "scored"
    assert m.vectors().array.shape[0] > 3
for early in False, True:
    with modelmap.Client(url, server_key=server, key=work + "/stranger", timeout=60) as m:
        if early:  # refused before the first call
            assert m._conn._mon.poll(60000)
        for again in range(2):
            try:
                m.status()
            except modelmap.Denied as e:
                assert "does not know our key" in str(e)
            else:
                sys.exit("a stranger is let in")
with modelmap.Client(url, server_key=work + "/stranger.pub", key=work + "/reader", timeout=1) as m:
    try:
        m.status()
    except modelmap.NoDaemon:
        pass
    else:
        sys.exit("another server's key is taken")
END
	e2e_stop
fi
echo "python: the same figures, typed errors, ordered events"
