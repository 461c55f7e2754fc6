"""An interviewer on livekit-agents 1.8.9 whose processes are warm before a candidate waits for them.

    python agent.py start

Where each thing belongs:

- the server object, at module level: every process imports this module, and none of it does any work by being made;
- what is slow and the same for every job, in `prewarm`, which runs once in each process and before its event loop;
- the engine, in the process that uses it (database.py); it connects in the job;
- cleaning up, in a shutdown callback, with a limit of its own below the framework's.
"""

import asyncio
import logging
import os
import tempfile
import time

from livekit.agents import Agent, AgentServer, AgentSession, AutoSubscribe, JobContext, JobProcess, JobRequest, cli
from livekit.plugins import openai, silero

import database
import readiness

log = logging.getLogger("interviewer")

# For measure.py: with 0 everything is loaded in the job, as without a prewarm.
PREWARM = os.environ.get("PREWARM", "1") != "0"
DISPOSE_S = 3
JOBS_MAX = 8


def prewarm(process: JobProcess) -> None:
    """Loads what is slow. It must not raise for what may come back: the pool tries again at once and for ever."""
    begun = time.monotonic()
    if PREWARM:
        # An ONNX session for each process: it has threads and can't be shared by a fork.
        process.userdata["vad"] = silero.VAD.load()
        # No connection: it would belong to an event loop that is not there yet, and idle processes would each hold one.
        database.engine()
    readiness.process_is_warm()
    log.info("prewarmed in %d ms", (time.monotonic() - begun) * 1000)


def load(worker: AgentServer) -> float:
    """Jobs and not the processor: the default refuses jobs while anything keeps the machine busy, our start included.

    Below 0.7 while there is a place, since LiveKit gives no job to a worker that reports more.
    """
    jobs = len(worker.active_jobs)
    return 1.0 if jobs >= JOBS_MAX else 0.65 * jobs / JOBS_MAX


server = AgentServer(
    setup_fnc=prewarm,
    load_fnc=load,
    # The default is one for each core, at most four; each costs memory, and a burst of jobs beyond them waits.
    num_idle_processes=2,
    # Ten times what prewarming takes on this machine, and above what it takes while every core is busy (default 10).
    initialize_process_timeout=20,
    # The end of a job: leave the room, and the shutdown callbacks (default 10).
    shutdown_process_timeout=10,
    # From SIGTERM until running jobs are cut off (default 3600): less than the service manager's own limit.
    drain_timeout=25 * 60,
    job_memory_warn_mb=500,
    load_threshold=0.7,
    port=int(os.environ.get("HEALTH_PORT", "8081")),
)


async def accept_if_warm(request: JobRequest) -> None:
    """An immediate no: LiveKit then asks the next worker. Without `terminate=False` it would ask nobody."""
    if readiness.warm_processes() == 0:
        await request.reject(terminate=False)
        return
    await request.accept()


@server.rtc_session(on_request=accept_if_warm)
async def interview(context: JobContext) -> None:
    begun = time.monotonic()
    readiness.process_is_taken()
    context.add_shutdown_callback(close)
    await context.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
    vad = context.proc.userdata.get("vad") or silero.VAD.load()
    session = AgentSession(
        vad=vad,
        stt=openai.STT(model="whisper-1"),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=openai.TTS(model="tts-1", voice="alloy", response_format="pcm"),
    )
    await session.start(agent=Agent(instructions="You interview a software engineer."), room=context.room)
    session.say("Hello, and welcome. Please tell me about your work.")
    log.info("the interview begins, %d ms after the job", (time.monotonic() - begun) * 1000)
    await note(context.room.name, "began")


async def note(name: str, what: str) -> None:
    """A database that is away costs a line in the log and not the interview."""
    begun = time.monotonic()
    try:
        await database.note(name, what)
    except Exception as error:  # noqa: BLE001 - whatever the driver raises
        log.error("%s of %s is not in the database: %r", what, name, error)
    else:
        log.info("noted in %d ms", (time.monotonic() - begun) * 1000)


async def close() -> None:
    """Runs in the job's own process and event loop, which are those of the engine."""
    try:
        await asyncio.wait_for(database.dispose(), DISPOSE_S)
        log.info("the engine is disposed of")
    except TimeoutError:
        log.warning("the database did not take our goodbye within %d s", DISPOSE_S)


def main() -> None:
    page = readiness.Readiness(int(os.environ.get("READINESS_PORT", "8082")), lambda: server.draining)
    server.on("worker_registered", page.worker_registered)
    started = []  # holds the task: the loop alone would not
    server.on("worker_started", lambda: started.append(asyncio.get_running_loop().create_task(page.serve())))
    with tempfile.TemporaryDirectory(prefix="warm-processes-") as directory:
        os.environ[readiness.DIRECTORY] = directory
        cli.run_app(server)


# Every process of the pool imports this file too, under another name.
if __name__ == "__main__":
    main()
