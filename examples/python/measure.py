"""Measures agent.py with its prewarm and without: what the job waits for, the processes, their memory and connections.

    python measure.py [--rooms N]

Wants a livekit-server and a PostgreSQL in LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET and DATABASE_URL. Makes
rooms, one after the other, which nobody joins.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from datetime import datetime
from pathlib import Path

import psutil
from livekit import api
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from database import APPLICATION

READY_S_MAX = 60
JOB_S_MAX = 30
STOP_S_MAX = 30
NOTED = r"^noted in (\d+) ms"


class Worker:
    def __init__(self, prewarm: bool, directory: Path) -> None:
        self.log = directory / f"agent-{int(prewarm)}.log"
        environment = os.environ | {"PREWARM": str(int(prewarm))}
        self.begun = time.time()
        command = [sys.executable, Path(__file__).with_name("agent.py"), "start"]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log.open("w"), stderr=subprocess.STDOUT)

    def lines(self) -> list[dict]:
        lines = []
        for line in self.log.read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        return lines

    def milliseconds(self, pattern: str) -> list[int]:
        found = (re.search(pattern, line["message"]) for line in self.lines())
        return [int(match[1]) for match in found if match]

    def said(self, message: str) -> int:
        return sum(line["message"] == message for line in self.lines())

    async def until(self, what: str, limit_s: float, reached) -> None:
        end = time.monotonic() + limit_s
        while not reached():
            if time.monotonic() > end or self.process.poll() is not None:
                sys.exit(f"{what} did not come within {limit_s} s:\n{self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)

    def tree(self) -> list[psutil.Process]:
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def is_ready() -> bool:
    try:
        with urllib.request.urlopen("http://127.0.0.1:8082/readyz", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


async def connections() -> int:
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with engine.connect() as connection:
        query = "select count(*) from pg_stat_activity where application_name = :name"
        return (await connection.execute(text(query), {"name": APPLICATION})).scalar_one()


async def measure(prewarm: bool, rooms: int, directory: Path) -> dict:
    worker = Worker(prewarm, directory)
    try:
        return await observe(worker, rooms)
    finally:
        worker.stop()


async def observe(worker: Worker, rooms: int) -> dict:
    await worker.until("readiness", READY_S_MAX, is_ready)
    registered = next(line for line in worker.lines() if line["message"] == "registered worker")
    await asyncio.sleep(3)
    tree = worker.tree()
    figures = {
        "ready_s": time_of(registered) - worker.begun,
        "processes": len(tree),
        "pss_mb": sum(process.memory_full_info().pss for process in tree) / 1e6,
        "idle": await connections(),
    }
    async with api.LiveKitAPI() as livekit:
        for before in range(rooms):
            figures["busy"] = await hold_job(worker, livekit, before)
    figures["after"] = await connections()
    figures["prewarm_ms"] = worker.milliseconds(r"^prewarmed in (\d+) ms")
    figures["job_ms"] = worker.milliseconds(r"the interview begins, (\d+) ms")
    figures["noted_ms"] = worker.milliseconds(NOTED)
    return figures


async def hold_job(worker: Worker, livekit: api.LiveKitAPI, before: int) -> int:
    """One job from its room to its end, after so many others; the connections while it is on."""
    await worker.until("a warm process", JOB_S_MAX, is_ready)
    await asyncio.sleep(1)
    name = f"measure-{uuid.uuid4().hex[:8]}"
    await livekit.room.create_room(api.CreateRoomRequest(name=name, empty_timeout=60))
    await worker.until("the job", JOB_S_MAX, lambda: len(worker.milliseconds(NOTED)) > before)
    held = await connections()
    await livekit.room.delete_room(api.DeleteRoomRequest(room=name))
    await worker.until("its end", JOB_S_MAX, lambda: worker.said("the engine is disposed of") > before)
    return held


def time_of(line: dict) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def spread(values: list[int]) -> str:
    return f"{statistics.median(values):.0f} ms ({min(values)}–{max(values)}; n = {len(values)})"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="measure-agent-") as directory:
        results = [await measure(prewarm, given.rooms, Path(directory)) for prewarm in (False, True)]

    def row(figure: str, cell) -> None:
        print(f"| {figure} | " + " | ".join(cell(result) for result in results) + " |")

    print("| figure | no prewarm | prewarm |\n| --- | --- | --- |")
    row("start → registered", lambda r: f"{r['ready_s']:.1f} s")
    row("prewarm, in each process", lambda r: spread(r["prewarm_ms"]))
    row("job → the interview begins", lambda r: spread(r["job_ms"]))
    row("first write, with the connection", lambda r: spread(r["noted_ms"]))
    row("processes when idle", lambda r: str(r["processes"]))
    row("memory when idle (PSS)", lambda r: f"{r['pss_mb']:.0f} MB")
    row("connections to PostgreSQL: idle, with one job, after it", lambda r: f"{r['idle']}, {r['busy']}, {r['after']}")


asyncio.run(main())
