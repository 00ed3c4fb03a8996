"""The command line: one file per command, each registered by one line in `app`."""

from __future__ import annotations

import errno
import os
import signal
import sys

import typer

from espalier.cli.bench import app as bench
from espalier.cli.chat import chat
from espalier.cli.generate import generate
from espalier.cli.models import models
from espalier.cli.serve import serve
from espalier.cli.trace import trace
from espalier.errors import EspalierError

app = typer.Typer(
    name="espalier",
    help="Decoding from language models: constraints, speculation, search and sampling that compose.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(generate)
app.command()(chat)
app.command()(models)
app.command()(serve)
app.command()(trace)
app.add_typer(bench, name="bench")


def _complain(message: str) -> None:
    print(f"espalier: {message}", file=sys.stderr, flush=True)


def _silence_stdout() -> None:
    """Nothing more can be written: keeps the interpreter from failing once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _reopen() -> list[str]:
    """The names of the standard streams that were closed; they lead nowhere from now on."""
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    return closed


def call(arguments: list[str] | None = None) -> int:
    """The exit code of one command: 0 if it did its work, 2 for wrong usage, 130 after Ctrl-C, 1 for every other error.

    Guarantee: an error is one clear message on stderr and never a traceback (set ESPALIER_DEBUG=1 to see it).
    """
    try:
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
        if code == 130:  # typer caught Ctrl-C
            _complain("interrupted")
        return code if isinstance(code, int) else 0
    except EspalierError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except MemoryError:
        _complain("out of memory; use a smaller model, --dtype int8 or int4, or fewer completions (--n)")
        return 1
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _silence_stdout()
            _complain(f"the disk is full ({error.filename or 'while writing the output'}); free some space")
        else:
            _complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return 1
    except Exception as error:
        show = getattr(error, "show", None)
        if show is not None:  # wrong usage, found by typer
            show()
            return int(getattr(error, "exit_code", 2))
        if type(error).__name__ == "Abort":
            _complain("interrupted")
            return 130
        if os.environ.get("ESPALIER_DEBUG"):
            raise
        _complain(f"unexpected {type(error).__name__}: {error}. This is a bug; ESPALIER_DEBUG=1 shows where")
        return 1


def main() -> None:
    """Runs the command that the arguments name and leaves with its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    closed = _reopen()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    if "stdout" in closed and sys.argv[1:]:
        _complain("the standard output is closed, so nothing can be shown; open it, or write > /dev/null")
        sys.exit(1)
    sys.exit(call())
