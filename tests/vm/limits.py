"""What the limits of the units do where a kernel enforces them, one function a behaviour. Runs as root on an emulated machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import behaviours
from behaviours import KEYS, SECRETS, UNIT, expect, healthz, http, pid, run, show, wait

# An emulated processor is some twenty times slower.
START_S_MAX = 120
CGROUP = Path("/sys/fs/cgroup/system.slice") / UNIT
# Far below what Viva has in memory, and far above what a start needs before it has anything.
TOO_LITTLE_MB = 48
QUOTA_PERCENT = 30
# Twice the time after which the watchdog would end it.
BEYOND_WATCHDOG_S = 20
# Takes memory and uses it until it is stopped.
HOG = "hoard = []\nwhile True: hoard.append(bytearray(b'x' * (8 << 20)))"


def the_kernel_enforces_limits():
    controllers = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    expect({"cpu", "memory", "pids"} <= set(controllers), f"the controllers are there, not {controllers}")
    return f"Linux {os.uname().release}"


def the_service_starts_within_its_limits():
    KEYS.mkdir(mode=0o700)
    (KEYS / "livekit").write_text(f"devkey: {SECRETS['livekit']}\n")
    (KEYS / "provider").write_text(SECRETS["provider"])
    begun = time.monotonic()
    run("systemctl", "start", UNIT, limit_s=START_S_MAX)
    took = time.monotonic() - begun
    expect(http("/readyz") == 200, "/readyz says 200")
    expect([name for name, part in healthz()["components"].items() if part["state"] == "degraded"] == [], "nothing is degraded")
    for name, file in (("MemoryMax", "memory.max"), ("MemoryHigh", "memory.high"), ("TasksMax", "pids.max")):
        expect(show(name) == limit(file), f"{name} of the unit is the kernel's {file}, {show(name)} and {limit(file)}")
    return f"ready after {took:.1f} s; MemoryMax {int(limit('memory.max')) >> 20} MiB of which {int(limit('memory.current')) >> 20} are used, TasksMax {limit('pids.max')}"


def it_is_killed_for_too_much_memory_and_comes_back():
    before, restarts, begun = pid(), int(show("NRestarts")), time.monotonic()
    with properties(MemoryMax=f"{TOO_LITTLE_MB}M", MemoryHigh="infinity"):
        wait(lambda: pid() != before, START_S_MAX, "the kernel kills it")
        wait(lambda: int(show("NRestarts")) > restarts, START_S_MAX, "systemd starts it again")
    said = run("journalctl", "--no-pager", f"--unit={UNIT}").stdout
    expect("killed by the OOM killer" in said, "systemd says what it was killed by")
    wait(lambda: show("ActiveState") == "active" and http("/readyz") == 200, START_S_MAX, "with its memory back it is ready")
    return f"ready again {time.monotonic() - begun:.1f} s after its memory was cut to {TOO_LITTLE_MB} MiB"


def somebody_else_in_its_cgroup_is_killed_for_their_own_memory_alone():
    before, kills = pid(), events()["oom_kill"]
    with properties(MemoryHigh="infinity"):
        hog = intruder(HOG)
        status = hog.wait(START_S_MAX)
    expect(status == -signal.SIGKILL, f"the hog is killed, not ended with {status}")
    expect(events()["oom_kill"] == kills + 1, "it was one OOM kill")
    expect(pid() == before and show("ActiveState") == "active" and http("/readyz") == 200, "Viva is the same process, and ready")
    return "OOMPolicy=continue and OOMScoreAdjust=-500"


def above_memory_high_it_is_held_back_and_stays_ready():
    before, restarts = pid(), show("NRestarts")
    hog = intruder(HOG)
    try:
        wait(lambda: events()["high"] > 0 and int(limit("memory.current")) > int(limit("memory.high")), START_S_MAX, "the cgroup is above MemoryHigh")
        longest_s, end = 0.0, time.monotonic() + BEYOND_WATCHDOG_S
        while time.monotonic() < end:
            asked = time.monotonic()
            expect(http("/readyz") == 200, "/readyz says 200")
            longest_s = max(longest_s, time.monotonic() - asked)
            time.sleep(0.1)
        expect(pid() == before and show("NRestarts") == restarts, "the watchdog was fed")
    finally:
        hog.kill()
        hog.wait()
    return f"/readyz answered within {longest_s * 1000:.0f} ms each time"


def tasks_end_at_their_limit_and_it_stays_ready():
    before, most = pid(), int(limit("pids.max"))
    bomb = intruder(
        "import os, signal, sys, time\n"
        "children = []\n"
        "try:\n"
        "    while True:\n"
        "        child = os.fork()\n"
        "        if child == 0: time.sleep(600)\n"
        "        children.append(child)\n"
        "except BlockingIOError: pass\n"
        "print(len(children), flush=True)\n"
        "sys.stdin.read()\n"
        "for child in children: os.kill(child, signal.SIGKILL)\n",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        forked = int(bomb.stdout.readline())
        expect(int(limit("pids.current")) == most, f"there are {most} tasks, not {limit('pids.current')}")
        expect(http("/readyz") == 200 and pid() == before, "Viva is the same process, and ready")
        time.sleep(5)
        expect(http("/readyz") == 200 and pid() == before, "and so it is after five seconds")
    finally:
        bomb.communicate("")
    return f"fork was refused after {forked} children"


def it_starts_and_feeds_its_watchdog_on_a_third_of_a_processor():
    spinning = []
    with properties(CPUQuota=f"{QUOTA_PERCENT}%"):
        try:
            expect(limit("cpu.max") == f"{QUOTA_PERCENT * 1000} 100000", f"the kernel has the quota, not {limit('cpu.max')}")
            run("systemctl", "restart", UNIT, limit_s=START_S_MAX)
            expect(http("/readyz") == 200, "it is ready")
            ready, restarts = pid(), show("NRestarts")
            spinning = [intruder("while True: pass") for _ in range(2)]
            before, begun = usage_s(), time.monotonic()
            time.sleep(BEYOND_WATCHDOG_S)
            share = (usage_s() - before) / (time.monotonic() - begun)
            expect(0.8 * QUOTA_PERCENT <= share * 100 <= 1.2 * QUOTA_PERCENT, f"what is in the cgroup has {share:.0%} of a processor")
            expect(pid() == ready and show("NRestarts") == restarts, "the watchdog was fed")
        finally:
            for process in spinning:
                process.kill()
                process.wait()
    wait(lambda: http("/readyz") == 200, START_S_MAX, "it is ready")
    return f"two loops beside it and Viva had {share:.0%} of a processor in all"


BEHAVIOURS = [
    the_kernel_enforces_limits,
    the_service_starts_within_its_limits,
    it_is_killed_for_too_much_memory_and_comes_back,
    somebody_else_in_its_cgroup_is_killed_for_their_own_memory_alone,
    above_memory_high_it_is_held_back_and_stays_ready,
    tasks_end_at_their_limit_and_it_stays_ready,
    it_starts_and_feeds_its_watchdog_on_a_third_of_a_processor,
]


@contextlib.contextmanager
def properties(**changed):
    """Other limits for a while."""

    def change(values):
        run("systemctl", "set-property", "--runtime", UNIT, *(f"{name}={value}" for name, value in values.items()))

    # CPUQuota is shown under another name; the units have none.
    before = {name: "" if name == "CPUQuota" else show(name) for name in changed}
    change(changed)
    try:
        yield
    finally:
        change(before)


def limit(file):
    return (CGROUP / file).read_text().strip()


def events():
    return {name: int(count) for name, count in (line.split() for line in limit("memory.events").splitlines())}


def usage_s():
    return int(limit("cpu.stat").split()[1]) / 1e6


def intruder(code, **more):
    """A program that is in the service's cgroup before it does anything."""

    def enter():
        (CGROUP / "cgroup.procs").write_text("0")

    return subprocess.Popen([sys.executable, "-c", code], preexec_fn=enter, **more)


if __name__ == "__main__":
    if behaviours.main(BEHAVIOURS, "The limits"):
        for log in sorted(behaviours.LOGS.glob("*.log")):
            print(f"--- {log.stem}\n{log.read_text()}", flush=True)
