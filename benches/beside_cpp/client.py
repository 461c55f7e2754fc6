"""What both programs share: joining a room on the official client, and what this process holds and has used."""

import asyncio
import logging
import os
import sys
import traceback
from pathlib import Path

from livekit import api, rtc

URL, KEY, SECRET = (os.environ[name] for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"))
# It tells of every data channel that goes with its room.
logging.getLogger("livekit").setLevel(logging.CRITICAL)
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def token(room, identity):
    grants = api.VideoGrants(room_join=True, room=room)
    return api.AccessToken(KEY, SECRET).with_identity(identity).with_grants(grants).to_jwt()


async def join(room, name, identity, single=True):
    """Connects a room object, whose handlers are there already, by one peer connection or by two."""
    await room.connect(URL, token(name, identity), rtc.RoomOptions(single_peer_connection=single))


def arrival(room, event):
    """The arguments of the first such event of the room, as a future."""
    arrived = asyncio.get_running_loop().create_future()
    room.on(event, lambda *what: arrived.done() or arrived.set_result(what))
    return arrived


def rss_kb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def threads():
    """Names of all threads."""
    names = []
    for thread in Path("/proc/self/task").iterdir():
        try:
            names.append((thread / "comm").read_text().strip())
        except OSError:
            pass  # It ended meanwhile.
    return names


def processor_s(of="/proc/self/stat"):
    """User and system time; the second field of the file is a name in brackets, which may hold spaces."""
    fields = Path(of).read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def interpreter_s():
    """The same of the thread that the interpreter's loop runs on."""
    return processor_s(f"/proc/self/task/{os.getpid()}/stat")


def say(line):
    print(line, flush=True)


def run(main):
    """Runs it and ends without the client's own clean-up, which was seen to spin for ever; everything is told by then."""
    status = 1
    try:
        status = asyncio.run(main())
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
