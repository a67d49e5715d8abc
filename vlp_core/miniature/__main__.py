"""Serve a corpus folder by hand: python -m vlp_core.miniature FOLDER --port 8765 --seconds 600"""

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path

from vlp_core.errors import UserError
from vlp_core.miniature.server import serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m vlp_core.miniature", description="Serve an embedded corpus.")
    parser.add_argument("folder", type=Path, help="output folder of the corpus stage")
    parser.add_argument("--port", type=int, default=0, help="port on loopback (default: any free one)")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long to serve (default: 600)")
    arguments = parser.parse_args()
    try:
        with serve(arguments.folder, arguments.port) as address, suppress(KeyboardInterrupt):
            print(f"serving for {arguments.seconds:g} s; reach it with --fetch.resolve '*.test={address}'", flush=True)
            time.sleep(arguments.seconds)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
