"""The way from a LiveKit server to one listener: loses, holds up or ever more delays the very packets that its fate says.

Which packets are lost follows from their RTP sequence numbers, which the server leaves as the speaker made them, so two ways with
the same fate lose the same packets. What is sent again is lost again, unless the fate has a round trip: then it takes that long and
has luck of its own. The listener comes this way since the signalling, which passes through here too, has the
server's UDP port changed for this one's.
"""

import asyncio
import random
import re
import struct
import time

AUDIO_AFTER_S = 3  # the speaker is silent for so long


class Fate:
    """What becomes of packets. `of` tells the delay in seconds of a packet that comes so long after the first, None for a lost one."""

    def __init__(self, kind, amount, round_trip_s, seed):
        self.kind, self.amount, self.round_trip_s = kind, amount, round_trip_s
        dice = random.Random(seed)
        if kind == "random":
            self.lost = [dice.random() < amount for _ in range(1 << 16)]
        elif kind == "bursts":
            # Gilbert's model (1960): a bad state that loses everything, left after three packets on average.
            lost, bad = [], False
            for _ in range(1 << 16):
                bad = dice.random() < (2 / 3 if bad else amount / (1 - amount) / 3)
                lost.append(bad)
            self.lost = lost
        else:
            self.lost = [False] * (1 << 16)
        self.lost_again = [dice.random() < amount for _ in range(1 << 16)]
        self.jitter = [dice.expovariate(1 / amount) if kind == "jitter" else 0.0 for _ in range(1 << 16)]

    def of(self, seq, age_s, is_again):
        if self.lost[seq] and not is_again:
            return None
        if is_again and (self.round_trip_s is None or self.lost_again[seq]):
            return None
        spoken_s = max(0.0, age_s - AUDIO_AFTER_S)
        if self.kind == "drift":  # parts per million of the sender's clock
            return max(0.0, 0.15 * (self.amount > 0) - spoken_s * self.amount / 1e6)
        if self.kind == "stall":  # everything is held up once, so many seconds
            return max(0.0, self.amount - (spoken_s - 10)) if spoken_s >= 10 else 0.0
        return self.jitter[seq]

    @property
    def one_way_s(self):
        return (self.round_trip_s or 0) / 2


def is_audio(datagram):
    """RTP, not RTCP (RFC 5761), STUN or DTLS."""
    return len(datagram) > 12 and 128 <= datagram[0] <= 191 and not 192 <= datagram[1] <= 223


class Way:
    def __init__(self, server_port, server_udp_port, fate):
        self.server_port, self.server_udp_port, self.fate = server_port, server_udp_port, fate
        self.begun = None
        self.passed, self.lost, self.again = [], [], 0
        self.seen = set()
        self.peers = {}
        self.jobs = set()

    async def open(self):
        loop = asyncio.get_running_loop()
        # The port in the signalling is replaced in place, so it has to have as many digits.
        while True:
            transport, _ = await loop.create_datagram_endpoint(lambda: Ear(self.from_listener), local_addr=("127.0.0.1", 0))
            port = transport.get_extra_info("sockname")[1]
            if len(str(port)) == len(str(self.server_udp_port)):
                break
            transport.close()
        self.out = transport
        self.old, self.new = (f" {p} typ host".encode() for p in (self.server_udp_port, port))
        self.signalling = await asyncio.start_server(self.signal, "127.0.0.1", 0)
        return self.signalling.sockets[0].getsockname()[1]

    def close(self):
        self.signalling.close()
        for job in list(self.jobs):
            job.cancel()
        self.out.close()
        for transport in self.peers.values():
            if transport:
                transport.close()

    async def signal(self, reader, writer):
        self.jobs.add(asyncio.current_task())
        there, to_there = await asyncio.open_connection("127.0.0.1", self.server_port)
        request = await reader.readuntil(b"\r\n\r\n")
        # Compressed messages could not be changed.
        to_there.write(re.sub(rb"(?i)sec-websocket-extensions:[^\r]*\r\n", b"", request))
        try:
            await asyncio.gather(self.carry(reader, to_there, b""), self.carry(there, writer, self.old))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            to_there.close()
            self.jobs.discard(asyncio.current_task())

    async def carry(self, reader, writer, changed):
        held = b""
        while data := await reader.read(65536):
            data, held = held + data, b""
            if changed:
                data = data.replace(changed, self.new)
                # The words may be cut in two.
                cut = next((n for n in range(len(changed) - 1, 0, -1) if data.endswith(changed[:n])), 0)
                data, held = data[: len(data) - cut], data[len(data) - cut :]
            writer.write(data)
            await writer.drain()
        writer.close()

    def from_listener(self, datagram, address):
        transport = self.peers.get(address)
        if transport:
            self.send(self.fate.one_way_s, transport, datagram)
        elif address not in self.peers:
            self.peers[address] = None
            job = asyncio.ensure_future(self.meet(address, datagram))
            self.jobs.add(job)
            job.add_done_callback(self.jobs.discard)

    async def meet(self, address, datagram):
        loop = asyncio.get_running_loop()
        ear = Ear(lambda answer, _: self.to_listener(answer, address))
        self.peers[address], _ = await loop.create_datagram_endpoint(lambda: ear, remote_addr=("127.0.0.1", self.server_udp_port))
        self.peers[address].sendto(datagram)

    def to_listener(self, datagram, address):
        if not is_audio(datagram):
            return self.send(self.fate.one_way_s, self.out, datagram, address)
        now = time.monotonic()
        self.begun = self.begun or now
        seq, timestamp = struct.unpack("!HI", datagram[2:8])
        is_again = (seq, timestamp) in self.seen
        self.again += is_again
        delay = self.fate.of(seq, now - self.begun, is_again)
        if not is_again:
            self.seen.add((seq, timestamp))
            (self.lost if delay is None else self.passed).append((seq, timestamp))
        if delay is not None:
            self.send(self.fate.one_way_s + delay, self.out, datagram, address)

    @staticmethod
    def send(delay, transport, *what):
        def arrive():
            if not transport.is_closing():
                transport.sendto(*what)

        if delay:
            asyncio.get_running_loop().call_later(delay, arrive)
        else:
            arrive()


class Ear(asyncio.DatagramProtocol):
    def __init__(self, heard):
        self.heard = heard

    def datagram_received(self, data, address):
        self.heard(data, address)

    def error_received(self, _error):
        pass  # a listener that has gone
