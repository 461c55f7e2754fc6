"""A participant on LiveKit's official Python client, with its own C++ WebRTC: speaks a recording, or records what it hears.

  client.py speak ROOM RECORDING.wav LISTENERS
  client.py listen ROOM HEARD.wav
"""

import asyncio
import os
import sys
import wave

from livekit import api, rtc

RATE = 48000
PATIENCE_S = 30
SETTLING_S = 3  # both listeners hear the track by then
ECHO_S = 1  # beyond any jitter buffer


async def join(name, identity, **handlers):
    room = rtc.Room()
    for event, handler in handlers.items():
        room.on(event, handler)
    grants = api.VideoGrants(room_join=True, room=name)
    token = api.AccessToken(os.environ["LIVEKIT_API_KEY"], os.environ["LIVEKIT_API_SECRET"]).with_identity(identity).with_grants(grants)
    await room.connect(os.environ["LIVEKIT_URL"], token.to_jwt())
    return room


async def speak(name, recording, listeners):
    with wave.open(recording) as file:
        rate, samples = file.getframerate(), file.readframes(file.getnframes())
    room = await join(name, "speaker")
    source = rtc.AudioSource(rate, 1, queue_size_ms=100)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    # Without RED, as nobody gets it from the engine either: both listeners are to have the same packets.
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, red=False)
    await room.local_participant.publish_track(track, options)
    step = rate // 100 * 2
    silence = bytes(step)

    async def say(frame):
        await source.capture_frame(rtc.AudioFrame(frame, rate, 1, step // 2))

    async with asyncio.timeout(PATIENCE_S):
        while len(room.remote_participants) < int(listeners):
            await say(silence)
    for _ in range(SETTLING_S * 100):
        await say(silence)
    for at in range(0, len(samples) - step + 1, step):
        await say(samples[at : at + step])
    for _ in range(ECHO_S * 100):
        await say(silence)
    await room.disconnect()


async def listen(name, heard):
    tracks, gone = asyncio.Queue(), asyncio.Event()
    room = await join(
        name,
        "official",
        track_subscribed=lambda track, _publication, _participant: tracks.put_nowait(track),
        participant_disconnected=lambda _participant: gone.set(),
        disconnected=lambda _reason: gone.set(),
    )
    print("joined", flush=True)
    frames = []

    async def record():
        async for event in rtc.AudioStream(await tracks.get(), sample_rate=RATE, num_channels=1):
            frames.append(bytes(event.frame.data))

    recording = asyncio.create_task(record())
    await gone.wait()
    recording.cancel()
    with wave.open(heard, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        file.writeframes(b"".join(frames))
    await room.disconnect()


asyncio.run({"speak": speak, "listen": listen}[sys.argv[1]](*sys.argv[2:]))
# The client's own clean-up at exit was seen to spin for ever; everything is closed and told by now.
sys.stdout.flush()
os._exit(0)
