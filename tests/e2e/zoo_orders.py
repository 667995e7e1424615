#!/usr/bin/env python3
"""zoo_orders.py - the zoo through the real daemon and scorer in random orders of arrival, judged by its truth.

  tests/e2e/zoo_orders.py [--orders N] [--seed S] [--scores none|first|last] [--subset K] [--no-leaks] [--cache DIR]
                          [--zoo DIR] [--bin DIR] [-v]

Every order is a daemon of its own in a fresh directory. Models arrive a few at a time; after each handful the script
waits until nothing is queued and the tests have looked at everybody, so that what an alert says on the way counts, too.
--cache keeps what the scorer sent and hands it to the daemon in later orders: the way into the store stays the same.
--no-leaks leaves the leaked models out, --subset takes K random models. Exit status 1 when anything is not as the
table says.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# truth's kind (and what is wrong): alerts that may be there, alerts of which one must be. Whether a copy or the model
# that it is a copy of came first decides which of the two is told: see judge().
ALLOWED = {
    "base": ("", ""),
    "checkpoint": ("", ""),
    "finetune": ("", ""),
    "merge": ("", ""),
    "duplicate": ("duplicate", ""),
    "leaked": ("leak", "leak"),
    "anomaly noise": ("damaged isolated diverged", "damaged isolated diverged"),
    "anomaly nan": ("not_finite", "not_finite"),
    "anomaly diverged": ("diverged", "diverged"),
    "anomaly tokenizer": ("tokenizer_mismatch", "tokenizer_mismatch"),
    "anomaly overflow": ("overflow not_finite", "overflow not_finite"),
    "anomaly": ("damaged isolated diverged not_finite tokenizer_mismatch overflow jump regressed impostor",) * 2,
    "broken": ("never_ready failed", "never_ready failed"),
}
NEEDS_RELATIVES = {"leak", "isolated"}

WRAPPER = """#!/bin/bash
# hands out what the scorer sent before; else lets it run and keeps what it sends
case " $* " in *" --stream "*) ;; *) exec "{scorer}" "$@" ;; esac
path="${{@: -1}}"
kept="{cache}/${{path#*/models/}}"; kept="${{kept//\\/models/}}"
[ -s "$kept/stream" ] && exec cat "$kept/stream"
mkdir -p "$kept"
"{scorer}" "$@" >"$kept/stream.$$"
rc=$?
cat "$kept/stream.$$"
[ $rc = 0 ] && mv "$kept/stream.$$" "$kept/stream" || rm -f "$kept/stream.$$"
exit $rc
"""


def rows_of(truth):
    key = truth["kind"]
    for extra in (truth.get("anomaly"), None):
        row = ALLOWED.get("%s %s" % (key, extra) if extra else key)
        if row:
            return row
    raise SystemExit("no row for %s" % truth)


class Daemon:
    def __init__(self, args, name):
        self.work = tempfile.mkdtemp(prefix="mm-orders-")
        self.models = os.path.join(self.work, "models")
        self.bin = args.bin
        os.mkdir(self.models)
        os.mkdir(os.path.join(self.work, "state"))
        program = ""
        if args.cache:
            os.makedirs(args.cache, exist_ok=True)
            program = os.path.join(self.work, "scorer")
            with open(program, "w") as f:
                f.write(WRAPPER.format(scorer=os.path.join(args.bin, "modelmap-score"), cache=args.cache))
            os.chmod(program, 0o755)
        self.socket = "ipc://%s/control" % self.work
        with open(os.path.join(self.work, "c.yaml"), "w") as f:
            f.write(
                "watch: {{ dirs: [{0}], settle: 300ms, give_up: 3s }}\n"
                "texts: {1}/texts.jsonl\nstate_dir: {2}/state\ncontrol: {3}\nevents: ipc://{2}/events\n"
                'score: {{ compute: f32, order: oldest, priority: normal, backoff: 100ms, program: "{4}" }}\n'.format(
                    self.models, args.zoo, self.work, self.socket, program
                )
            )
        self.log = open(os.path.join(self.work, "log"), "w")
        self.child = subprocess.Popen(
            [os.path.join(args.bin, "modelmapd"), "--config", self.work + "/c.yaml", "--foreground"],
            stdout=self.log, stderr=self.log,
        )
        self.until("the daemon answers", lambda: self.ask("status") is not None)

    def ask(self, *what):
        r = subprocess.run(
            [os.path.join(self.bin, "modelmap"), "--timeout", "60s", "--socket", self.socket, "--json", *what],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        return json.loads(r.stdout) if r.returncode == 0 and r.stdout else None

    def until(self, what, f, limit=900):
        end = time.monotonic() + limit
        while not f():
            if self.child.poll() is not None:
                raise SystemExit("the daemon is gone: %s" % self.work)
            if time.monotonic() > end:
                raise SystemExit("not in time: %s (%s)" % (what, self.work))
            time.sleep(0.1)

    def settled(self, n):
        """Nothing queued, nobody waits, everybody tested; those that the daemon gave up are counted."""
        d = self.ask("status")
        if not d or d["models"] != n or any(d["queue"][k] for k in ("waiting", "queued", "running")):
            return False
        scored = [m["name"] for m in self.ask("models")["models"] if m["state"] == "scored" and not m["same_as"]]
        for name in scored:  # broken models have no row of tests
            tests = self.ask("show", name).get("tests")
            if tests:
                return not tests["due"]
        return len(scored) < 10

    def stop(self, keep):
        self.child.terminate()
        self.child.wait()
        self.log.close()
        if not keep:
            shutil.rmtree(self.work)


def zoo_models(zoo):
    root = os.path.join(zoo, "models")
    found = []
    for here, dirs, files in os.walk(root):
        if "config.json" in files:
            found.append(os.path.relpath(here, root))
            dirs[:] = []
    return sorted(found)


def bring(zoo, daemon, name):
    """As rsync would: the copy appears under its name when it is whole."""
    to = os.path.join(daemon.models, name)
    tmp = os.path.join(daemon.work, "coming")
    shutil.copytree(os.path.join(zoo, "models", name), tmp)
    subprocess.run(["chmod", "-R", "u+w", tmp], check=True)
    os.makedirs(os.path.dirname(to), exist_ok=True)
    os.rename(tmp, to)


def texts_of(alert, truth):
    said = {x["index"] for x in alert["evidence"]["suspect_texts"]}
    saw = set(truth["leaked_texts"])
    return len(said & saw) / max(1, len(said)), len(said & saw) / max(1, len(saw))


def judge(truth, here, alerts, full, say):
    """full: all relatives are there, so that what needs them must be found."""
    wrong = false_leaks = 0
    twins = {n for n in here for m in here if truth[m]["kind"] == "duplicate" and truth[m]["parent"] == n}
    for name in here:
        may, must = rows_of(truth[name])
        mine = [a for a in alerts if a["model"] == name]
        for a in mine:
            ok = a["kind"] in may.split() or (a["kind"] == "duplicate" and name in twins)
            if not ok:
                wrong += 1
                false_leaks += a["kind"] == "leak"
                say("  %s %s of %s (%s): %s" % (a["state"], a["kind"], name, truth[name]["kind"], a["message"]))
        there = [a for a in mine if a["state"] == "open" and a["kind"] in must.split()]
        if must and not there and (full or not set(must.split()) & NEEDS_RELATIVES):
            wrong += 1
            say("  %s: no %s alert" % (name, must))
        if len(there) > 1 and truth[name]["kind"] != "broken":
            wrong += 1
            say("  %s: %s" % (name, [a["kind"] for a in there]))
        for a in there:
            if a["kind"] == "leak":
                p, r = texts_of(a, truth[name])
                say("  %s: leak, p %.1g, %d texts, precision %.2f recall %.2f" % (
                    name, a["evidence"]["p"], len(a["evidence"]["suspect_texts"]), p, r))
                wrong += p < 0.8 or r < 0.8
    return wrong, false_leaks


def one_order(args, order, truth, say):
    rng = random.Random(args.seed + order)
    names = [n for n in zoo_models(args.zoo) if not (args.no_leaks and truth[n]["kind"] == "leaked")]
    rng.shuffle(names)
    names = names[: args.subset] if args.subset else names
    d = Daemon(args, str(order))
    start = time.monotonic()
    try:
        if args.scores == "first":
            d.ask("scores", "import", os.path.join(args.zoo, "scores.csv"))
        at = 0
        while at < len(names):
            n = rng.randint(1, 6)
            for name in names[at : at + n]:
                bring(args.zoo, d, name)
            at = min(at + n, len(names))
            d.until("%d models" % at, lambda: d.settled(at))
        if args.scores == "last":
            d.ask("scores", "import", os.path.join(args.zoo, "scores.csv"))
            d.ask("recheck", "--all")
            d.until("tested with scores", lambda: d.settled(at))
        alerts = d.ask("alerts", "--all")["alerts"]
        say("order %d: %d models, %d alerts, %.0f s" % (
            args.seed + order, len(names), len(alerts), time.monotonic() - start))
        wrong, false_leaks = judge(truth, names, alerts, not args.subset, say)
        if args.verbose:
            for n in sorted(names):
                t = d.ask("show", n).get("tests")
                if t:
                    say("    %-32s p %.2g  %s" % (n, t["p"], "  ".join("%s %.1f/%.2g" % (
                        x["name"], x["statistic"], x["p"]) for x in t["tests"])))
        return wrong, false_leaks
    finally:
        d.stop(args.keep)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--orders", type=int, default=5)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--scores", choices=("none", "first", "last"), default="none")
    a.add_argument("--subset", type=int, default=0)
    a.add_argument("--no-leaks", action="store_true")
    a.add_argument("--cache")
    a.add_argument("--zoo", default=os.path.join(os.environ.get("MM_SHARED", TOP + "/../shared"), "zoo/dev"))
    a.add_argument("--bin", default=os.environ.get("OUT", TOP + "/build/release"))
    a.add_argument("--keep", action="store_true")
    a.add_argument("-v", "--verbose", action="store_true")
    args = a.parse_args()
    args.zoo, args.bin = os.path.abspath(args.zoo), os.path.abspath(args.bin)
    args.cache = args.cache and os.path.abspath(args.cache)
    os.environ.pop("OPENBLAS_CORETYPE", None)
    truth = json.load(open(os.path.join(args.zoo, "truth.json")))

    def say(text):
        print(text, flush=True)

    wrong = false_leaks = 0
    for order in range(args.orders):
        w, f = one_order(args, order, truth, say)
        wrong += w
        false_leaks += f
    say("%d orders: %d wrong, %d false leak alerts" % (args.orders, wrong, false_leaks))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
