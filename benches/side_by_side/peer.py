"""The peer: an interviewer on livekit-agents, set up as well as we know how.

Native VAD, the local turn detector, language model and speech begun before the turn is certain, raw PCM from TTS.
`python peer.py start` serves; the variables are those of LiveKit and OpenAI.
"""

from livekit.agents import Agent, AgentServer, AgentSession, AutoSubscribe, JobContext, cli, inference
from livekit.plugins import openai

# Two warm processes, and no refusal because the machine is busy with the candidates of this very measurement.
server = AgentServer(num_idle_processes=2, load_fnc=lambda: 0.0)


@server.rtc_session()
async def interview(context: JobContext):
    await context.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
    session = AgentSession(
        vad=inference.VAD(min_silence_duration=0.25),
        stt=openai.STT(model="whisper-1"),
        llm=openai.LLM(model="gpt-4o-mini"),
        tts=openai.TTS(model="tts-1", voice="alloy", response_format="pcm"),
        turn_handling={
            "turn_detection": inference.TurnDetector(version="v1-mini"),
            "endpointing": {"mode": "fixed", "min_delay": 0.3, "max_delay": 2.5},
            "preemptive_generation": {"enabled": True, "preemptive_tts": True, "max_speech_duration": 60.0},
        },
    )
    await session.start(agent=Agent(instructions="You interview a software engineer."), room=context.room)
    session.say("Hello, and welcome. Please tell me about your work.")


if __name__ == "__main__":
    cli.run_app(server)
