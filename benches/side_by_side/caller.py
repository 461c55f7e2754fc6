"""Candidates on LiveKit's official Python client: each joins a room of its own, speaks a recording, and times the interviewer.

Prints one JSON object with lists of seconds:
  join    the candidate is connected → an agent is in the room; 0 if it was there first
  greet   the room was made → the first loud sample of the interviewer
  turn    the last loud sample of the recording → the first loud sample after it
and counts: `cut` onsets into the candidate's speech, `early` ones sooner than the providers can answer (they reply to a
part of the words), `missed` turns without a reply. Early and cut ones are not in `turn`.
"""

import argparse
import asyncio
import json
import os
import sys
import time
import wave

import numpy as np
from livekit import api, rtc

LOUD = 300  # rms of 10 ms, of 32,767
QUIET_S = 0.3  # an onset comes after this much quiet
EARLY_S = 0.40  # the providers' own time of a reply is longer
REPLY_LIMIT_S = 15

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--wav", required=True, help="48 kHz, mono, 16 bit")
parser.add_argument("--from-s", type=float, default=0)
parser.add_argument("--to-s", type=float, default=None)
parser.add_argument("--rooms", type=int, default=1)
parser.add_argument("--turns", type=int, default=4)
parser.add_argument("--name", required=True, help="of the rooms, before their numbers")
given = parser.parse_args()

URL, KEY, SECRET = (os.environ[name] for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"))


def recording():
    with wave.open(given.wav) as file:
        assert file.getnchannels() == 1 and file.getsampwidth() == 2, "mono, 16 bit"
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
    samples = samples[int(given.from_s * rate) : int(given.to_s * rate) if given.to_s else None]
    step = rate // 100
    steps = samples[: len(samples) // step * step].reshape(-1, step)
    loud = np.flatnonzero(rms(steps) > LOUD)
    return rate, steps[loud[0] : loud[-1] + 1]


def rms(frames):
    return np.sqrt((frames.astype(np.float32) ** 2).mean(axis=-1))


RATE, SPEECH = recording()


class Caller:
    def __init__(self, number):
        self.name = f"{given.name}-{number}"
        self.figures = {"join": None, "greet": None, "turn": [], "cut": 0, "early": 0, "missed": 0}
        self.agent_here = asyncio.Event()
        self.onset = asyncio.Event()
        self.loud_at = 0.0
        self.spoke_until = None
        self.speaking = False
        self.tasks = []

    async def call(self):
        self.made_at = time.perf_counter()
        async with api.LiveKitAPI(URL, KEY, SECRET) as server:
            await server.room.create_room(api.CreateRoomRequest(name=self.name))
        room = rtc.Room()
        room.on("participant_connected", self.met)
        room.on("track_subscribed", lambda track, *_: self.tasks.append(asyncio.create_task(self.listen(track))))
        grants = api.VideoGrants(room_join=True, room=self.name)
        token = api.AccessToken(KEY, SECRET).with_identity("candidate").with_grants(grants).to_jwt()
        await room.connect(URL, token)
        self.connected_at = time.perf_counter()
        for participant in room.remote_participants.values():
            self.met(participant)
        source = rtc.AudioSource(RATE, 1, queue_size_ms=50)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
        await room.local_participant.publish_track(track, options)
        self.words = asyncio.Queue(1)
        self.tasks.append(asyncio.create_task(self.microphone(source)))
        await asyncio.wait_for(self.agent_here.wait(), 30)
        await asyncio.wait_for(self.onset.wait(), 30)
        for _ in range(given.turns):
            await self.turn()
        for task in self.tasks:
            task.cancel()
        await room.disconnect()
        return self.figures

    def met(self, participant):
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT and not self.agent_here.is_set():
            self.figures["join"] = max(0.0, time.perf_counter() - self.connected_at) if hasattr(self, "connected_at") else 0.0
            self.agent_here.set()

    async def turn(self):
        while time.perf_counter() - self.loud_at < 1.0:  # let the interviewer finish
            await asyncio.sleep(0.05)
        self.onset.clear()
        before = len(self.figures["turn"]) + self.figures["early"]
        await self.words.put(None)
        await self.words.join()
        try:
            await asyncio.wait_for(self.onset.wait(), REPLY_LIMIT_S)
        except TimeoutError:
            if len(self.figures["turn"]) + self.figures["early"] == before:
                self.figures["missed"] += 1
        self.spoke_until = None

    async def microphone(self, source):
        step = RATE // 100
        silence = np.zeros(step, np.int16)
        while True:
            if self.words.empty():
                await source.capture_frame(rtc.AudioFrame(silence.tobytes(), RATE, 1, step))
                continue
            self.words.get_nowait()
            self.speaking = True
            for frame in SPEECH:
                await source.capture_frame(rtc.AudioFrame(frame.tobytes(), RATE, 1, step))
            self.speaking = False
            # What was captured last is still in the queue of the source.
            self.spoke_until = time.perf_counter() + source.queued_duration
            self.words.task_done()

    async def listen(self, track):
        async for event in rtc.AudioStream(track, sample_rate=16_000, num_channels=1, frame_size_ms=10):
            frame = np.frombuffer(event.frame.data, dtype=np.int16)
            now = time.perf_counter()
            if rms(frame) < LOUD:
                continue
            is_onset = now - self.loud_at > QUIET_S
            self.loud_at = now
            if is_onset:
                self.heard(now)

    def heard(self, now):
        if self.figures["greet"] is None:
            self.figures["greet"] = now - self.made_at
        elif self.speaking:
            self.figures["cut"] += 1
            return
        elif self.spoke_until is not None:
            waited = now - self.spoke_until
            self.spoke_until = None
            if waited < EARLY_S:
                self.figures["early"] += 1
            else:
                self.figures["turn"].append(waited)
        self.onset.set()


async def main():
    callers = [Caller(number) for number in range(given.rooms)]
    all_figures = await asyncio.gather(*(caller.call() for caller in callers))
    merged = {
        "join": [f["join"] for f in all_figures if f["join"] is not None],
        "greet": [f["greet"] for f in all_figures if f["greet"] is not None],
        "turn": [seconds for f in all_figures for seconds in f["turn"]],
        **{count: sum(f[count] for f in all_figures) for count in ("cut", "early", "missed")},
    }
    print(json.dumps(merged))


asyncio.run(main())
# The client's own clean-up at exit was seen to spin for ever; everything is closed and told by now.
sys.stdout.flush()
os._exit(0)
