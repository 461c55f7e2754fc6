"""What becomes of an engine that has connected before a fork, and what database.py says in place of it.

    python forked.py
"""

import asyncio
import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

import database

ANSWER_S_MAX = 5


async def ask(engine: AsyncEngine) -> int:
    async with asyncio.timeout(ANSWER_S_MAX), engine.connect() as connection:
        return (await connection.execute(text("select 1"))).scalar_one()


def child(engine: AsyncEngine) -> None:
    try:
        asyncio.run(ask(engine))
    except Exception as error:  # noqa: BLE001 - to be shown
        print("child, the parent's engine:", type(error).__name__, str(error)[-36:], flush=True)
    try:
        database.engine()
    except RuntimeError as error:
        print("child, database.engine():", error, flush=True)


def main() -> None:
    loop = asyncio.new_event_loop()
    engine = database.engine()
    print("parent:", loop.run_until_complete(ask(engine)), flush=True)
    if os.fork() == 0:
        child(engine)
        os._exit(0)
    os.wait()
    try:
        print("parent again:", loop.run_until_complete(ask(engine)))
    except Exception as error:  # noqa: BLE001 - to be shown
        print("parent again:", type(error).__name__)


main()
