"""Starts the command line such that Ctrl-C is one line on stderr even while torch is still being imported."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"espalier: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _leave)
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from espalier.cli import main

    main()
