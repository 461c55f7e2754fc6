"""Somebody on LiveKit's official Python client who encrypts end to end: sends a tone, answers data, and tells what arrived.

Prints one JSON object: heard_hz (the tone that was heard, or null), data (the first message that could be decrypted). Before
that it answers the message with the same backwards, moves its key on, and says "moved on" with the new one.
"""

import argparse
import asyncio
import json
import os

import numpy as np
from livekit import api, rtc

RATE_HZ = 48_000
TONE_HZ = 440
LISTEN_S = 1.0
LIMIT_S = 60


async def speak(source):
    n = RATE_HZ // 100
    for beat in range(LIMIT_S * 100):
        t = (np.arange(n) + beat * n) / RATE_HZ
        samples = (8000 * np.sin(2 * np.pi * TONE_HZ * t)).astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE_HZ, 1, n))


async def heard_hz(track):
    samples = np.zeros(0, dtype=np.int16)
    async for event in rtc.AudioStream(track, sample_rate=RATE_HZ, num_channels=1):
        frame = np.frombuffer(event.frame.data, dtype=np.int16)
        # Silence, and what is made up for lost packets, is not what is waited for.
        if np.abs(frame).max() < 4000:
            continue
        samples = np.concatenate([samples, frame])
        if len(samples) >= LISTEN_S * RATE_HZ:
            spectrum = np.abs(np.fft.rfft(samples))
            return float(np.argmax(spectrum) * RATE_HZ / len(samples))


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--room", required=True)
    parser.add_argument("--key", required=True)
    arguments = parser.parse_args()
    room, track, message = rtc.Room(), asyncio.Future(), asyncio.Future()
    room.on("track_subscribed", lambda t, _publication, _participant: track.done() or track.set_result(t))
    room.on("data_received", lambda packet: message.done() or message.set_result(packet.data))
    token = (
        api.AccessToken(os.environ["LIVEKIT_API_KEY"], os.environ["LIVEKIT_API_SECRET"])
        .with_identity("official")
        .with_grants(api.VideoGrants(room_join=True, room=arguments.room))
        .to_jwt()
    )
    keys = rtc.KeyProviderOptions(shared_key=arguments.key.encode())
    options = rtc.RoomOptions(encryption=rtc.E2EEOptions(key_provider_options=keys))
    await room.connect(os.environ["LIVEKIT_URL"], token, options)
    source = rtc.AudioSource(RATE_HZ, 1)
    speaking = asyncio.create_task(speak(source))
    await room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("tone", source), rtc.TrackPublishOptions())
    data = await message
    hz = await heard_hz(await track)
    await room.local_participant.publish_data(data[::-1])
    room.e2ee_manager.key_provider.ratchet_shared_key(0)
    await room.local_participant.publish_data(b"moved on")
    print(json.dumps({"heard_hz": hz, "data": data.decode()}), flush=True)
    # The other side may have to hear the tone yet.
    await asyncio.wait([asyncio.create_task(asyncio.to_thread(input)), speaking], return_when=asyncio.FIRST_COMPLETED)
    speaking.cancel()
    await room.disconnect()


asyncio.run(asyncio.wait_for(main(), LIMIT_S))
