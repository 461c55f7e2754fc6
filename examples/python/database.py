"""One engine for each process: made by the process that uses it, after it exists, and disposed of before it ends.

An engine that is made when this module is imported is made in every process that imports it, the worker among them. One
that has connected before a fork is worse: two processes then read each other's answers from one socket.
"""

import asyncio
import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

APPLICATION = "interviewer"
CONNECT_S = 3
STATEMENT_S = 5
WRITE_S = 8  # all of it: a place in the pool, a connection, the statement

_engine: AsyncEngine | None = None
_owner: int | None = None


def engine() -> AsyncEngine:
    """This process's engine. It connects when it is first used, and belongs to the event loop that uses it."""
    global _engine, _owner
    if _engine is None:
        _engine, _owner = _create(), os.getpid()
    if _owner != os.getpid():
        cause = f"the engine was made by process {_owner}, before the fork"
        raise RuntimeError(f"{cause}; make it in prewarm or in the job")
    return _engine


def _create() -> AsyncEngine:
    return create_async_engine(
        os.environ["DATABASE_URL"],
        # A process holds one interview. What counts for the server is processes times this number.
        pool_size=1,
        max_overflow=1,
        pool_timeout=STATEMENT_S,
        # A server that was restarted is noticed before the statement and not by it.
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "timeout": CONNECT_S,
            "command_timeout": STATEMENT_S,
            # To be told apart in pg_stat_activity.
            "server_settings": {"application_name": APPLICATION},
        },
    )


async def note(interview: str, what: str) -> None:
    """Writes one line about an interview. Raises after at most WRITE_S."""
    async with asyncio.timeout(WRITE_S), engine().begin() as connection:
        await connection.execute(
            text("insert into interview_log (interview, what) values (:interview, :what)"),
            {"interview": interview, "what": what},
        )


async def prepare() -> None:
    """Makes the table. For the deployment, not for a process of the pool."""
    async with engine().begin() as connection:
        await connection.execute(
            text(
                "create table if not exists interview_log (at timestamptz not null default now(),"
                " interview text not null, what text not null)"
            )
        )
    await dispose()


async def dispose() -> None:
    """Closes the connections. The next use makes a new engine."""
    global _engine
    if _engine is not None and _owner == os.getpid():
        await _engine.dispose()
    _engine = None


if __name__ == "__main__":
    asyncio.run(prepare())
