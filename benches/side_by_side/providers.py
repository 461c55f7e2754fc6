"""Speech and language with fixed latencies, so that what differs between two workers is their own.

POST /v1/audio/transcriptions, /v1/chat/completions (streamed or whole) and /v1/audio/speech (pcm), as OpenAI's.
"""

import argparse
import asyncio
import json
import math
import struct
import time

from aiohttp import web

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--stt", type=float, default=0.150, help="seconds until the words are there")
parser.add_argument("--first-token", type=float, default=0.200)
parser.add_argument("--token", type=float, default=0.010, help="seconds between two words of the model")
parser.add_argument("--first-sound", type=float, default=0.150)
given = parser.parse_args()

RATE = 24_000
SAYS = "Thank you, that is clear to me. Which part of it would you do in another way today?"
HEARD = "I measured first, found the slow query, and added the index that it needed."
CHUNK = 4_800


def tone(seconds):
    return b"".join(struct.pack("<h", int(9_000 * math.sin(2 * math.pi * 330 * n / RATE))) for n in range(int(seconds * RATE)))


TONE = tone(3)


async def transcriptions(request):
    await request.post()
    await asyncio.sleep(given.stt)
    return web.json_response({"text": HEARD, "usage": {"type": "duration", "seconds": 3}})


async def completions(request):
    body = await request.json()
    await asyncio.sleep(given.first_token)
    shaped = body.get("response_format", {}).get("type") in ("json_object", "json_schema")
    says = json.dumps({"acknowledgement": SAYS, "follow_up": None}) if shaped else SAYS
    head = {"id": "one", "created": int(time.time()), "model": body.get("model", "model")}
    if not body.get("stream"):
        message = {"role": "assistant", "content": says}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)

    async def send(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {**head, "object": "chat.completion.chunk", "choices": [choice]}
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())

    for number, word in enumerate(says.split(" ")):
        await send({"role": "assistant", "content": word} if number == 0 else {"content": f" {word}"})
        await asyncio.sleep(given.token)
    await send({}, "stop")
    await response.write(b"data: [DONE]\n\n")
    return response


async def speech(request):
    text = (await request.json()).get("input", "")
    await asyncio.sleep(given.first_sound)
    response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
    await response.prepare(request)
    seconds = min(3.0, max(0.4, len(text) / 16))
    sound = TONE[: int(seconds * RATE) * 2]
    for at in range(0, len(sound), CHUNK):
        await response.write(sound[at : at + CHUNK])
        await asyncio.sleep(0.005)
    return response


async def models(_):
    return web.json_response({"object": "list", "data": [{"id": "model", "object": "model", "created": 0, "owned_by": "here"}]})


def quiet(handler):
    """Whoever hangs up in the middle has heard enough."""

    async def handle(request):
        try:
            return await handler(request)
        except ConnectionError:
            return web.Response()

    return handle


app = web.Application(client_max_size=64 << 20)
app.router.add_post("/v1/audio/transcriptions", quiet(transcriptions))
app.router.add_post("/v1/chat/completions", quiet(completions))
app.router.add_post("/v1/audio/speech", quiet(speech))
app.router.add_get("/v1/models", models)
web.run_app(app, host="127.0.0.1", port=given.port, print=None)
