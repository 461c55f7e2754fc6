"""A candidate on LiveKit's official Python client, with its own C++ WebRTC: joins, answers with a recording, and prints what it got.

With --follow it stays, says nothing, and prints what it notices as it happens, one JSON object a line: at (Unix time, s) and
  what: connected, track (subscribed to), frames (the first of a track), onset (a loud sample after quiet), agents (how many there are), state, transcript (with who and text), left.
Else it prints one JSON object:
  heard_ms        from being connected to the first loud sample of the interviewer, or null
  subscribed      the audio tracks that were subscribed to
  transcripts     every `lk.transcription` text stream: who, text, attributes
  states          every `lk.agent.state` of the interviewer, in their order
  agent           kind and attribute names of the interviewer
  answered        how many times the recording was spoken
  reply_ms        from the end of each answer to the interviewer's next first loud sample
  error           why it gave up, or null
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

LOUD_RMS = 300
QUIET_S = 0.2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--room", required=True)
    parser.add_argument("--wav", required=True, help="mono, 16 bit")
    parser.add_argument("--seconds", type=float, help="speak only the first so many seconds")
    parser.add_argument("--answers", type=int, default=1)
    parser.add_argument("--identity", default="candidate")
    parser.add_argument("--barge-in", type=float, metavar="S", help="from the second answer on, speak S seconds into the interviewer's reply")
    parser.add_argument("--dtx", action="store_true", help="send nothing in silence")
    parser.add_argument("--mute-after", type=float, help="mute the microphone so many seconds into the recording, for good")
    parser.add_argument("--limit", type=float, default=60)
    parser.add_argument("--to-the-end", action="store_true", help="after the answers, stay until the interviewer has left")
    parser.add_argument("--follow", action="store_true", help="stay, say nothing, and tell what happens as it happens")
    return parser.parse_args()


class Candidate:
    def __init__(self, args):
        self.args = args
        with wave.open(args.wav) as recording:
            assert recording.getnchannels() == 1 and recording.getsampwidth() == 2, "the recording must be mono with 16 bits"
            self.rate = recording.getframerate()
            frames = recording.readframes(recording.getnframes())
        speech = np.frombuffer(frames, dtype=np.int16)
        self.speech = speech[: int(args.seconds * self.rate)] if args.seconds else speech
        self.out = {"heard_ms": None, "subscribed": [], "transcripts": [], "states": [], "agent": None, "answered": 0, "reply_ms": [], "error": None}
        self.listening = asyncio.Event()
        self.understood = asyncio.Event()
        self.onset = asyncio.Event()
        self.parted_from = asyncio.Event()
        self.loud_at = None
        self.ended_at = None
        self.tasks = []

    async def run(self):
        room = self.room = rtc.Room()
        room.on("participant_connected", self.met)
        room.on("participant_disconnected", self.parted)
        room.on("disconnected", lambda reason: self.note("left", reason=str(reason)))
        room.on("participant_attributes_changed", self.attributes)
        room.on("track_subscribed", self.subscribed)
        room.register_text_stream_handler("lk.transcription", self.transcript)
        token = (
            api.AccessToken(os.environ["LIVEKIT_API_KEY"], os.environ["LIVEKIT_API_SECRET"])
            .with_identity(self.args.identity)
            .with_grants(api.VideoGrants(room_join=True, room=self.args.room))
            .to_jwt()
        )
        await room.connect(os.environ["LIVEKIT_URL"], token)
        self.connected_at = time.perf_counter()
        self.note("connected")
        for participant in room.remote_participants.values():
            self.met(participant)
        source = rtc.AudioSource(self.rate, 1, queue_size_ms=100)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=self.args.dtx)
        await room.local_participant.publish_track(track, options)
        self.say = asyncio.Event()
        self.said = asyncio.Event()
        microphone = asyncio.create_task(self.microphone(source, track))
        try:
            await asyncio.wait_for(asyncio.Event().wait() if self.args.follow else self.interview(), self.args.limit)
        except TimeoutError:
            self.out["error"] = f"not done within {self.args.limit} s"
        microphone.cancel()
        for task in self.tasks:
            task.cancel()
        await room.disconnect()

    async def interview(self):
        for answer in range(self.args.answers):
            if answer and self.args.barge_in:
                await asyncio.sleep(self.args.barge_in)
            else:
                await self.listening.wait()
                await asyncio.sleep(0.5)  # a person's reaction
            self.understood.clear()
            self.said.clear()
            self.say.set()
            await self.said.wait()
            # A pause within the recording may have ended a turn; what is waited for is the turn with its last words.
            self.understood.clear()
            self.out["answered"] += 1
            self.onset.clear()
            self.ended_at = time.perf_counter()
            await self.understood.wait()
            await self.onset.wait()
        if self.args.to_the_end:
            await self.parted_from.wait()

    async def microphone(self, source, track):
        step = self.rate // 100
        at, speaking = 0, False
        silence = np.zeros(step, np.int16)
        while True:
            if self.say.is_set():
                self.say.clear()
                at, speaking = 0, True
            samples = silence
            if speaking:
                samples = self.speech[at : at + step]
                at += step
                if self.args.mute_after and at >= self.args.mute_after * self.rate:
                    track.mute()
                    speaking = False
                if at + step > len(self.speech):
                    speaking = False
                if not speaking:
                    self.said.set()
            await source.capture_frame(rtc.AudioFrame(samples.tobytes(), self.rate, 1, len(samples)))

    def note(self, what, **more):
        if self.args.follow:
            print(json.dumps({"at": time.time(), "what": what, **more}), flush=True)

    def count_agents(self):
        agents = [p for p in self.room.remote_participants.values() if p.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT]
        self.note("agents", count=len(agents))

    def parted(self, participant):
        self.count_agents()
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            self.parted_from.set()

    def met(self, participant):
        self.count_agents()
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            self.out["agent"] = {"identity": participant.identity, "attributes": sorted(participant.attributes)}
            self.state(participant.attributes.get("lk.agent.state"))

    def attributes(self, changed, participant):
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            self.out["agent"]["attributes"] = sorted(participant.attributes)
            self.state(changed.get("lk.agent.state"))

    def state(self, state):
        if state is None:
            return
        self.out["states"].append(state)
        self.note("state", state=state)
        if state == "listening":
            self.listening.set()
        else:
            self.listening.clear()

    def subscribed(self, track, publication, participant):
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self.out["subscribed"].append(publication.sid)
            self.note("track", sid=publication.sid, who=participant.identity)
            self.tasks.append(asyncio.create_task(self.listen(track)))

    async def listen(self, track):
        is_first = True
        async for event in rtc.AudioStream(track, sample_rate=16000, num_channels=1):
            samples = np.frombuffer(event.frame.data, dtype=np.int16).astype(np.float32)
            if is_first:
                is_first = False
                self.note("frames")
            if samples.size == 0 or np.sqrt(np.mean(samples * samples)) < LOUD_RMS:
                continue
            now = time.perf_counter()
            if self.out["heard_ms"] is None:
                self.out["heard_ms"] = round((now - self.connected_at) * 1000)
            if self.loud_at is None or now - self.loud_at > QUIET_S:
                if self.ended_at is not None:
                    self.out["reply_ms"].append(round((now - self.ended_at) * 1000))
                    self.ended_at = None
                self.onset.set()
                self.note("onset")
            self.loud_at = now

    def transcript(self, reader, identity):
        self.tasks.append(asyncio.create_task(self.read(reader, identity)))

    async def read(self, reader, identity):
        text = await reader.read_all()
        attributes = dict(reader.info.attributes)
        self.note("transcript", who=identity, text=text, final=attributes.get("lk.transcription_final") == "true")
        self.out["transcripts"].append({"who": identity, "text": text, "attributes": attributes})
        if identity == self.args.identity and attributes.get("lk.transcription_final") == "true":
            self.understood.set()


candidate = Candidate(arguments())
asyncio.run(candidate.run())
if not candidate.args.follow:
    print(json.dumps(candidate.out))
# The client's own clean-up at exit was seen to spin for ever; everything is closed and told by now.
sys.stdout.flush()
os._exit(0)
