"""A worker whose processes never become ready, to see what livekit-agents 1.8.9 makes of it.

    FAULT=raises python broken.py start     # prewarm fails, as with a database that is away
    FAULT=hangs  python broken.py start     # prewarm never ends, as with a server that accepts and says nothing
"""

import os
import time

from livekit.agents import AgentServer, JobContext, JobProcess, cli


def prewarm(_: JobProcess) -> None:
    if os.environ.get("FAULT") == "hangs":
        time.sleep(3600)
    raise ConnectionError("no database")


# Load by jobs, as in agent.py: by default the attempts themselves may keep the processor so busy that no job is taken.
server = AgentServer(setup_fnc=prewarm, num_idle_processes=2, load_fnc=lambda worker: len(worker.active_jobs) / 10)


@server.rtc_session()
async def entrypoint(context: JobContext) -> None:
    await context.connect()


if __name__ == "__main__":
    cli.run_app(server)
