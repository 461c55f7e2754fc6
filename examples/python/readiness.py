"""Whether a job could begin at once: the worker has registered and is not being stopped, and a warm process waits.

The framework's own health page says neither. It is 200 as soon as the worker runs, also while every process of the pool
fails to initialize.

A warm process keeps a file named by its pid in a directory of the worker's, from the end of its prewarming until it
takes a job. Of one that died the file stays and does not count.
"""

import os
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

DIRECTORY = "WARM_PROCESSES"


def process_is_warm() -> None:
    """To be called at the end of prewarming."""
    _mine().touch()


def process_is_taken() -> None:
    """To be called at the beginning of a job."""
    _mine().unlink(missing_ok=True)


def warm_processes() -> int:
    """Processes that wait for a job. For the worker."""
    return sum(_is_alive(int(file.name)) for file in Path(os.environ[DIRECTORY]).iterdir())


def _mine() -> Path:
    return Path(os.environ[DIRECTORY]) / str(os.getpid())


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Readiness:
    """The page /readyz of the worker: 200 or 503, and why."""

    def __init__(self, port: int, is_draining: Callable[[], bool]) -> None:
        self._port = port
        self._is_draining = is_draining
        self._registered = False
        self._runner: web.AppRunner | None = None

    def worker_registered(self, *_: object) -> None:
        # There is no event for the loss of the connection: this says that it was there once.
        self._registered = True

    def cause(self) -> str | None:
        """Why no job could begin now; None if one could."""
        if not self._registered:
            return "not registered with LiveKit yet"
        if self._is_draining():
            return "draining: no more jobs are taken"
        if warm_processes() == 0:
            return "no process is warm"
        return None

    async def serve(self) -> None:
        application = web.Application()
        application.add_routes([web.get("/readyz", self._answer)])
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _answer(self, _: web.Request) -> web.Response:
        cause = self.cause()
        return web.Response(status=503 if cause else 200, text=(cause or "ready") + "\n")
