"""Carries packets between two tunnel devices, and loses, delays and reorders some: a link for kernels without netem.

weather.py DEVICE DEVICE LOSS% DELAY_MS JITTER_MS HASTY%: prints `ready` when the devices are there, in the network namespace
that it runs in, from which they can be moved. On standard input it is told `cut` and `mend`; it ends with its input.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
PACKET_BYTES_MAX = 65536
# Packets under way on the link; more than that are lost, as in any queue.
UNDER_WAY_MAX = 1000


def device(name):
    """Makes a tunnel device, whose other end this process is."""
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return end


def main():
    ends = [device(name) for name in sys.argv[1:3]]
    loss, delay, jitter, hasty = (int(word) for word in sys.argv[3:7])
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    # The same in every run.
    chance = random.Random(1)
    under_way, number, is_cut = [], 0, False
    print("ready", flush=True)
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        readable, _, _ = select.select([*ends, sys.stdin], [], [], wait)
        if sys.stdin in readable:
            word = sys.stdin.readline()
            if not word:
                return
            is_cut = word.strip() == "cut"
        for end in ends:
            if end not in readable:
                continue
            try:
                packet = os.read(end, PACKET_BYTES_MAX)
            except OSError:
                # The device is down for now.
                continue
            is_lost = is_cut or chance.uniform(0, 100) < loss or len(under_way) >= UNDER_WAY_MAX
            if not is_lost:
                waits_ms = max(0.0, delay + chance.uniform(-jitter, jitter))
                if chance.uniform(0, 100) < hasty:
                    waits_ms = 0.0
                number += 1
                heapq.heappush(under_way, (time.monotonic() + waits_ms / 1000, number, other[end], packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, end, packet = heapq.heappop(under_way)
            try:
                os.write(end, packet)
            except OSError:
                # Lost: that device is down, or full.
                pass


if __name__ == "__main__":
    main()
