"""People who only listen, on LiveKit's official Python client: one in each of several rooms, all of them at once.

Joins `PREFIX0`, `PREFIX1`, … and prints one JSON object a line, for each room:
  room        its name
  loud_ms     from being connected to the first loud sample, or null
  error       why it gave up, or null
"""

import argparse
import asyncio
import json
import os
import sys
import time

import numpy as np
from livekit import api, rtc

LOUD_PEAK = 3000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--rooms", type=int, required=True)
    parser.add_argument("--limit", type=float, default=30, help="seconds to wait for the first loud sample")
    return parser.parse_args()


async def listen(name, limit):
    out = {"room": name, "loud_ms": None, "error": None}
    token = (
        api.AccessToken(os.environ["LIVEKIT_API_KEY"], os.environ["LIVEKIT_API_SECRET"])
        .with_identity("listener")
        .with_grants(api.VideoGrants(room_join=True, room=name))
        .to_jwt()
    )
    room = rtc.Room()
    tracks = asyncio.Queue()
    room.on("track_subscribed", lambda track, _publication, _participant: tracks.put_nowait(track))
    await room.connect(os.environ["LIVEKIT_URL"], token)
    connected_at = time.perf_counter()

    async def first_loud():
        async for event in rtc.AudioStream(await tracks.get(), sample_rate=16000, num_channels=1):
            samples = np.frombuffer(event.frame.data, dtype=np.int16).astype(np.int32)
            if samples.size and np.abs(samples).max() >= LOUD_PEAK:
                return round((time.perf_counter() - connected_at) * 1000)

    try:
        out["loud_ms"] = await asyncio.wait_for(first_loud(), limit)
    except TimeoutError:
        out["error"] = f"nothing was heard within {limit} s; subscribed: {sum(len(p.track_publications) for p in room.remote_participants.values())}"
    await room.disconnect()
    return out


async def main(args):
    for told in await asyncio.gather(*(listen(f"{args.prefix}{n}", args.limit) for n in range(args.rooms))):
        print(json.dumps(told))


asyncio.run(main(arguments()))
# The client's own clean-up at exit was seen to spin for ever; everything is closed and told by now.
sys.stdout.flush()
os._exit(0)
