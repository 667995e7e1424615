"""python3 -m modelmap: the daemon's status. Exit status: 0, 1 failure, 2 usage, 3 no daemon."""

from __future__ import annotations

import argparse
import json
import sys
from typing import List, Optional

from . import Client, Error, NoDaemon


def main(argv: Optional[List[str]] = None) -> int:
    p = argparse.ArgumentParser(prog="python3 -m modelmap", description="The status of modelmapd.")
    p.add_argument("--socket", metavar="ENDPOINT", help="a path, ipc:///path or tcp://host:port")
    p.add_argument("--timeout", metavar="S", type=float, default=30.0, help="seconds to wait for the answer")
    p.add_argument("--server-key", metavar="KEY", help="tcp: the daemon's public key, or a file with it")
    p.add_argument("--key", metavar="FILE", help="tcp: file with your secret key")
    p.add_argument("--json", action="store_true", help="as the daemon says it")
    a = p.parse_args(argv)
    try:
        with Client(a.socket, timeout=a.timeout, server_key=a.server_key, key=a.key) as m:
            status = m.status()
    except NoDaemon as e:
        print("modelmap: %s" % e, file=sys.stderr)
        return 3
    except (Error, ValueError, OSError) as e:
        print("modelmap: %s" % e, file=sys.stderr)
        return 1
    print(json.dumps(status) if a.json else repr(status))
    return 0


if __name__ == "__main__":
    sys.exit(main())
