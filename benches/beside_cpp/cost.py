"""What sessions cost that send a track and receive one, as examples/session_cost measures it, on the official client.

  python cost.py ROOMS SECONDS frames|native

With `frames`, the sound goes through Python both ways, 50 ms at a time as livekit-agents takes it. With `native`, Python
hands over a second at a time and takes nothing of what is received: the engine decodes it all the same, since its
playout goes on, and what is left is the engine's own cost, the SDK's, and next to nothing of Python.
"""

import asyncio
import sys

import numpy as np
from client import arrival, interpreter_s, join, processor_s, rss_kb, run, say, threads
from livekit import rtc

SPOKEN_HZ, HEARD_HZ = 24_000, 16_000
FRAME_MS = {"frames": 50, "native": 1000}
SETTLING_S = 10


def voice():
    """Two seconds of the harmonics of a low voice that get louder and softer four times a second."""
    t = np.arange(SPOKEN_HZ * 2) / SPOKEN_HZ
    return (((t * 130.0) % 1.0 - 0.5) * 12_000.0 * (0.6 + 0.4 * ((t * 4.0) % 1.0))).astype(np.int16)


class Session:
    def __init__(self, mode):
        self.mode, self.room, self.energy, self.tasks = mode, rtc.Room(), 0.0, []
        self.subscribed = arrival(self.room, "track_subscribed")

    async def join(self, name, identity):
        await join(self.room, name, identity)
        step = FRAME_MS[self.mode]
        self.source = rtc.AudioSource(SPOKEN_HZ, 1, queue_size_ms=2 * step)
        track = rtc.LocalAudioTrack.create_audio_track("voice", self.source)
        await self.room.local_participant.publish_track(track, rtc.TrackPublishOptions())
        samples = SPOKEN_HZ * step // 1000
        frames = [rtc.AudioFrame(part.tobytes(), SPOKEN_HZ, 1, samples) for part in voice().reshape(-1, samples)]
        self.tasks.append(asyncio.create_task(self.speak(frames)))

    async def speak(self, frames):
        while True:
            for frame in frames:
                await self.source.capture_frame(frame)

    async def listen(self):
        track, *_ = await self.subscribed
        if self.mode == "frames":
            self.tasks.append(asyncio.create_task(self.hear(track)))

    async def hear(self, track):
        async for event in rtc.AudioStream(track, sample_rate=HEARD_HZ, num_channels=1, frame_size_ms=FRAME_MS["frames"]):
            frame = np.frombuffer(event.frame.data, dtype=np.int16).astype(np.float32)
            self.energy += float(frame @ frame)

    async def received(self):
        """Samples at 48 kHz that were played out, and those of them that were made up."""
        stats = await self.room.get_rtc_stats()
        for one in [*stats.publisher_stats, *stats.subscriber_stats]:
            if one.WhichOneof("stats") == "inbound_rtp":
                inbound = one.inbound_rtp.inbound
                return np.array([inbound.total_samples_received, inbound.concealed_samples], dtype=np.int64)
        return np.zeros(2, np.int64)


async def open_room(number, mode):
    """A room with its two sessions, which hear each other when this returns."""
    pair = [Session(mode), Session(mode)]
    await asyncio.gather(*(session.join(f"cost-{mode}-{number}", f"{n}") for n, session in enumerate(pair)))
    for session in pair:
        await asyncio.wait_for(session.listen(), 30)
    return pair


async def main():
    rooms, seconds, mode = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    bare = rss_kb()
    sessions = await open_room(0, mode)
    await asyncio.sleep(SETTLING_S)
    first = rss_kb()
    for number in range(1, rooms):
        sessions += await open_room(number, mode)
    await asyncio.sleep(SETTLING_S)
    heard = sum([await session.received() for session in sessions])
    begin, python = processor_s(), interpreter_s()
    await asyncio.sleep(seconds)
    used, python = processor_s() - begin, interpreter_s() - python
    heard = sum([await session.received() for session in sessions]) - heard
    rss, count = rss_kb(), len(sessions)
    share = lambda s: f"{s / seconds / count * 100:.2f} %"
    say(
        "| sessions | a session, of one core | of it the interpreter's thread | a session, memory | all, memory | before the first | threads | concealed |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        f"| {count} | {share(used)} | {share(python)} | {(rss - first) / 1000 / max(count - 2, 1):.2f} MB | {rss / 1000:.1f} MB | {bare / 1000:.1f} MB"
        f" | {len(threads())} | {heard[1] / max(heard[0], 1) * 100:.3f} % |"
    )
    return 0


run(main)
