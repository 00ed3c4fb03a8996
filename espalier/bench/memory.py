"""`python -m espalier.bench.memory SYSTEM DTYPE [MODEL]`: the peak memory in MiB of one system, alone in a process."""

from __future__ import annotations

import resource
import subprocess
import sys

from espalier.bench.peers import Ours, Peer, Transformers


def peak_mb(system: str, dtype: str, model: str | None) -> float | None:
    """The peak memory of loading and writing 16 tokens after 128, "espalier" or "transformers"; None if that failed."""
    command = [sys.executable, "-m", "espalier.bench.memory", system, dtype, *([model] if model else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def main(system: str, dtype: str, model: str | None = None) -> None:
    """Runs the system and prints its peak."""
    from espalier.bench.decoding import TORCH
    from espalier.models.load.open import load, locate

    peer: Peer
    if system == "espalier":
        peer = Ours(system, load(model, dtype=dtype))
    else:
        peer = Transformers(system, Transformers.load(locate(model), TORCH[dtype]))
    peer.continue_greedily(list(range(100, 228)), 16)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
