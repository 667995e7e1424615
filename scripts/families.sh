#!/bin/bash
# The README's table of model families, made from `modelmap-score --families`: families.sh writes it, families.sh --check compares.
set -eu
cd "$(dirname "$0")/.."
table=$(mktemp)
trap 'rm -f "$table"' EXIT
"${BIN:-build/bin}/modelmap-score" --families >"$table"
python3 - "$table" "${1:-}" <<'EOF'
import json, re, sys

rows = ["| family | `architectures` in config.json | `general.architecture` in GGUF | checked against |", "|---|---|---|---|"]
for f in json.load(open(sys.argv[1]))["families"]:
    rows.append("| %s | %s | %s | %s |" % (f["family"], ", ".join(f["architectures"]), ", ".join(f.get("gguf") or []) or "-",
                "the reference's log-probabilities" if f["proof"] == "golden" else "a second formulation in the tests"))
block = "<!-- families -->\n" + "\n".join(rows) + "\n<!-- /families -->"
text = open("README.md").read()
new = re.sub(r"<!-- families -->.*<!-- /families -->", lambda _: block, text, flags=re.S)
if sys.argv[2] == "--check":
    if new != text:
        sys.exit("README.md: the table of families is not what modelmap-score --families says; run scripts/families.sh")
else:
    open("README.md", "w").write(new)
EOF
