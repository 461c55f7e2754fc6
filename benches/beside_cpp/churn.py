"""Opens and closes rooms as examples/room_churn does, on the official client, and prints what stays behind.

  python churn.py ROOMS AT_ONCE ENDING

Each room has two participants: sound goes one way, data the other, and then it ends in the one way of ENDING. What is
printed is a Markdown table with a line after the first rooms, lines on the way, and one at the end.
"""

import array
import asyncio
import gc
import os
import random
import sys
import time
from pathlib import Path

from client import arrival, join, rss_kb, run, say, threads
from livekit import api, rtc

RATE_HZ = 48_000
# Both cancellations are to land anywhere in what they cancel, or just after it. Joining takes this client longer than ours.
CLOSE_CANCELLED_S_MAX = 0.012
JOIN_CANCELLED_S_MAX = float(os.environ.get("JOIN_CANCELLED_S_MAX", 0.12))
# Rooms that are opened before anything is compared, of a longer run; of a shorter one it is a third.
WARM_UP_MAX = 100
LINES = 5
# Far above a second or two: giving up in the middle of a joining ends this client, see JoinCancelled.
LIFE_LIMIT_S = 300
# Until nothing changes any more, and how long nothing has to.
SETTLING_LIMIT_S = 180
CALM_S = 20

ENDINGS = ("Closed", "ClosedTogether", "Deleted", "Removed", "CloseCancelled", "JoinCancelled")
# 10 ms of a square wave.
LOUD = array.array("h", [8000 if n % 96 < 48 else -8000 for n in range(RATE_HZ // 100)]).tobytes()


class Figures:
    def __init__(self):
        gc.collect()
        names = threads()
        self.tasks = len(asyncio.all_tasks()) - 1  # without the one that asks
        self.threads = len(names)
        self.capturing = sum(name.startswith("AudioSourceCapt") for name in names)
        self.files = len(list(Path("/proc/self/fd").iterdir()))
        self.rss_kb = rss_kb()

    def held(self):
        return (self.tasks, self.threads, self.files)

    def line(self, rooms, begun):
        seconds = time.monotonic() - begun
        return f"| {rooms} | {seconds:.0f} | {self.tasks} | {self.threads} | {self.capturing} | {self.files} | {self.rss_kb / 1000:.1f} |"


async def live(server, number, ending):
    """One room, from its making to its end."""
    name = f"churn-{number}"
    single = number // 6 % 2 == 0
    if ending == "JoinCancelled":
        room = rtc.Room()
        joining = asyncio.create_task(join(room, name, "one", single))
        if await given_up(joining, random.uniform(0, JOIN_CANCELLED_S_MAX)):
            # What a program does that tidies up; there is nothing yet that it would close.
            await room.disconnect()
            return
        await room.disconnect()
        return
    speaker, listener = rtc.Room(), rtc.Room()
    subscribed, answered = arrival(listener, "track_subscribed"), arrival(speaker, "data_received")
    left = arrival(listener, "participant_disconnected")
    ended = [arrival(room, "disconnected") for room in (speaker, listener)]
    await join(speaker, name, "speaker", single)
    await join(listener, name, "listener", single)
    source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=200)
    try:
        await talk(speaker, listener, source, subscribed, answered)
        if ending == "Closed":
            await speaker.disconnect()
            await left
            await listener.disconnect()
        elif ending == "ClosedTogether":
            await asyncio.gather(speaker.disconnect(), listener.disconnect())
        elif ending == "Deleted":
            await server.room.delete_room(api.DeleteRoomRequest(room=name))
            await asyncio.gather(*ended)
        elif ending == "Removed":
            await server.room.remove_participant(api.RoomParticipantIdentity(room=name, identity="listener"))
            await ended[1]
            await speaker.disconnect()
        elif ending == "CloseCancelled":
            for room in (speaker, listener):
                await given_up(asyncio.create_task(room.disconnect()), random.uniform(0, CLOSE_CANCELLED_S_MAX))
    finally:
        await source.aclose()


async def given_up(task, patience_s):
    """Waits for a task for so long and cancels it then; it has begun in any case."""
    await asyncio.sleep(0)
    done, _ = await asyncio.wait({task}, timeout=patience_s)
    if done:
        task.result()
        return False
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return True


async def talk(speaker, listener, source, subscribed, answered):
    """Sound one way and a message the other, so that every part of both connections has been in use."""
    track = rtc.LocalAudioTrack.create_audio_track("sound", source)
    await speaker.local_participant.publish_track(track, rtc.TrackPublishOptions())
    speaking = asyncio.create_task(speak(source))
    try:
        heard, *_ = await subscribed
        stream = rtc.AudioStream(heard, sample_rate=RATE_HZ, num_channels=1)
        async for event in stream:
            if max(event.frame.data) > 1000:
                break
        await stream.aclose()
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
    await listener.local_participant.publish_data(b"heard", reliable=True)
    await answered


async def speak(source):
    while True:
        await source.capture_frame(rtc.AudioFrame(LOUD, RATE_HZ, 1, RATE_HZ // 100))


async def churn(server, numbers, at_once, ending):
    """Runs the rooms of these numbers, some at once, and gives how many failed."""
    numbers, failed = iter(numbers), 0

    async def work():
        nonlocal failed
        for number in numbers:
            try:
                await asyncio.wait_for(live(server, number, ending), LIFE_LIMIT_S)
            except Exception as why:
                failed += 1
                say(f"room {number} ({ending}): {why!r}")

    await asyncio.gather(*(work() for _ in range(at_once)))
    return failed


async def settled(before=None):
    """The figures once they are no more than they were, or once nothing has changed for a while."""
    until = time.monotonic() + SETTLING_LIMIT_S
    last, since = None, time.monotonic()
    while True:
        await asyncio.sleep(1)
        now = Figures()
        if now.held() != last:
            last, since = now.held(), time.monotonic()
        back = before is not None and all(a <= b for a, b in zip(now.held(), before.held()))
        if back or time.monotonic() - since > CALM_S or time.monotonic() > until:
            return now


async def main():
    rooms, at_once, ending = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if ending not in ENDINGS:
        sys.exit(f"{ending} is none of {', '.join(ENDINGS)}")
    begun = time.monotonic()
    say("| rooms | s | tasks | threads | capture threads | files | RSS, MB |\n| --- | --- | --- | --- | --- | --- | --- |")
    async with api.LiveKitAPI() as server:
        await server.room.list_rooms(api.ListRoomsRequest())  # its connection stays
        warm_up = min(WARM_UP_MAX, rooms // 3)
        failed, done = await churn(server, range(warm_up), at_once, ending), warm_up
        warm = await settled()
        say(warm.line(warm_up, begun))
        step = max((rooms - warm_up) // LINES, 1)
        while done < rooms:
            after = min(done + step, rooms)
            failed += await churn(server, range(done, after), at_once, ending)
            done = after
            say(Figures().line(done, begun))
        say((await settled(warm)).line(rooms, begun))
    if failed:
        say(f"{failed} of {rooms} rooms failed")
    return 1 if failed else 0


run(main)
