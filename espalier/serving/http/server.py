"""The server process: it listens first, loads then, and ends when it is told to, with what runs brought to its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from espalier.errors import InvalidInput
from espalier.lm import LanguageModel
from espalier.serving.config import Config
from espalier.serving.engine import Engine
from espalier.serving.engine_slot import Place
from espalier.serving.http.app import app
from espalier.serving.http.log import log, write_log

_LAST = 2.0  # seconds for answers to be sent after the last request ended


class Connection(H11Protocol):
    """uvicorn's connection; it waits `keep_alive` seconds for the head of each request, the first one too."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._head is None:
            self._head = self.loop.call_later(self.timeout_keep_alive, self._late)

    def _stop(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _late(self) -> None:
        self._head = None
        if self.cycle is None or self.cycle.response_complete:
            self.timeout_keep_alive_handler()


class Server(uvicorn.Server):
    """uvicorn, without handlers of signals of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the process's own."""
        yield


def bound(config: Config) -> socket.socket:
    """A socket that listens at the address. Raises `InvalidInput` for one that is taken, or not of this machine."""
    try:
        if config.uds is not None:
            with contextlib.suppress(FileNotFoundError):
                _free(config.uds)
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.bind(config.uds)
        else:
            family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
            made = socket.socket(family, socket.SOCK_STREAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((config.host.strip("[]"), config.port))
        made.listen(2048)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        hint = "another program listens there; choose another --port" if taken else (error.strerror or str(error)).lower()
        raise InvalidInput(f"cannot listen at {config.address}: {hint}") from error
    made.setblocking(False)
    return made


def _free(path: str) -> None:
    """Removes the socket that a server left behind that was killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def serve(config: Config, load: Callable[[], LanguageModel], say: Callable[[str], Any] = print) -> None:
    """Serves until SIGTERM or Ctrl-C, then takes no more requests and ends those it has within `config.drain` seconds.

    Raises what loading raises.
    """
    settings, place = config.settings(), Place()
    listening = bound(config)
    if config.uds is None:
        config = replace(config, port=listening.getsockname()[1])
    say(config.address)
    write_log(config.log_format)
    try:
        asyncio.run(_serve(config, place, Server(_uvicorn(config, app(place, settings))), listening, load))
    finally:
        if place.found is not None:
            place.found.close()
        if config.uds is not None:
            with contextlib.suppress(OSError):
                os.unlink(config.uds)


def _uvicorn(config: Config, served: Any) -> uvicorn.Config:
    return uvicorn.Config(
        served,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        http=Connection,
        server_header=False,
        timeout_keep_alive=config.keep_alive,
        timeout_graceful_shutdown=int(_LAST),
        ssl_certfile=config.tls_cert,
        ssl_keyfile=config.tls_key,
    )


async def _serve(
    config: Config, place: Place, server: Server, listening: socket.socket, load: Callable[[], LanguageModel]
) -> None:
    loop, failed = asyncio.get_running_loop(), list[BaseException]()
    told = 0
    tasks = set[asyncio.Task[None]]()

    async def leave() -> None:
        place.leaving = True
        log.info("taking no more requests; those that run have %g seconds", config.drain)
        if place.found is not None:
            await asyncio.to_thread(place.found.drain, config.drain)
        server.should_exit = True

    def stop() -> None:
        nonlocal told
        told += 1
        if told == 1:
            tasks.add(asyncio.ensure_future(leave()))
            return
        log.info("told to stop twice: what runs is cut off")
        server.should_exit = True
        if place.found is not None:
            threading.Thread(target=place.found.drain, args=(0,), daemon=True).start()

    def loading() -> None:
        try:
            place.found = Engine(load(), config.limits())
            gc.collect()
            gc.freeze()  # a collection that looked through all of this again would stop every text for a tenth of a second
            log.info("ready: %s", place.found.lm.name)
        except BaseException as error:
            failed.append(error)
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(setattr, server, "should_exit", True)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loader = threading.Thread(target=loading, name="espalier-load", daemon=True)
    loader.start()
    await server.serve(sockets=[listening])
    if loader.is_alive():  # it cannot be stopped in the middle of a file, and nobody waits for it any more
        sys.stdout.flush()
        os._exit(0)
    if failed:
        raise failed[0]
