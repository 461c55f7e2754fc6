"""What the service does under its service manager, one function a behaviour. Runs as root on the machine that is tested."""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

UNIT = "viva.service"
# Where whoever started the machine looks.
LOGS = Path("/run/out")
KEYS = Path("/run/keys")
SECRETS = {"livekit": "a-secret-of-thirty-two-characters", "provider": "the-key-of-a-provider"}
SETTINGS = Path("/etc/viva/viva.toml")
PROGRAM = "/nix/store/viva/bin/viva"
LITESTREAM = "/nix/store/litestream/bin/litestream"
LIVEKIT = "/nix/store/livekit/bin/livekit-server"

# A start takes a fraction of a second on an idle machine; on one that compiles beside it, ten times that.
START_S_MAX = 15
# Half a second on an idle machine; the largest of these files has 63 MB.
ENGINES_S_MAX = 40
# WatchdogSec and TimeoutAbortSec of the unit, and a start.
WATCHDOG_S_MAX = 10 + 5 + START_S_MAX
# WatchdogSec, and a second.
WATCHDOG_S = 11
# Its connection is tried again every few seconds, and joining takes a moment.
LIVEKIT_S_MAX = 20
EXPOSURE_MAX = 1.5

GREEN, RED, DIM, OFF = ("\033[32m", "\033[31m", "\033[2m", "\033[0m") if os.environ.get("COLOUR") else ("", "", "", "")


class Skipped(Exception):
    """Something that this program does not offer yet, or that is not on this machine."""


# Behaviours, in the order in which they run: each leaves the service running as it found it.


def every_line_of_the_units_is_understood():
    units = sorted(str(path) for path in Path("/etc/systemd/system").glob("viva*") if path.suffix in (".service", ".socket"))
    out = run("systemd-analyze", "verify", "--recursive-errors=no", "--man=no", *units, check=False)
    # Programs that are not on the test machine are no matter of the unit.
    said = [line for line in (out.stdout + out.stderr).splitlines() if line and "is not executable" not in line]
    expect(not said, "systemd-analyze verify says: " + "; ".join(said))
    return f"{len(units)} units"


def without_its_key_it_does_not_start():
    run("systemctl", "start", UNIT, check=False)
    wait(lambda: show("ExecMainStatus") == "243", 5, "the start failed at its credentials (status 243)")
    run("systemctl", "stop", UNIT)


def it_is_ready_with_the_key_from_its_credential():
    KEYS.mkdir(mode=0o700)
    (KEYS / "livekit").write_text(f"devkey: {SECRETS['livekit']}\n")
    (KEYS / "provider").write_text(SECRETS["provider"])
    for file in KEYS.iterdir():
        file.chmod(0o400)
    begun = time.monotonic()
    run("systemctl", "start", UNIT, limit_s=START_S_MAX)
    took = time.monotonic() - begun
    expect(show("ActiveState") == "active", "it is active once `systemctl start` returns")
    expect("ready" in show("StatusText"), f"its status says that it is ready, not {show('StatusText')!r}")
    expect(http("/readyz") == 200, "/readyz says 200")
    return f"{took * 1000:.0f} ms from `systemctl start` to READY; LiveKit and the providers are out of reach"


def its_keys_are_nowhere_but_in_the_credentials():
    process = Path("/proc", pid())
    said = run("journalctl", "--no-pager").stdout
    for name, secret in SECRETS.items():
        for place in (process / "environ", process / "cmdline"):
            expect(secret not in place.read_text(errors="replace"), f"the key {name} is not in {place}")
        expect(secret not in said, f"the key {name} is not in the journal")
    kept = {file.name: file.stat() for file in (process / "root/run/credentials" / UNIT).iterdir()}
    expect(sorted(kept) == ["livekit-keys", "llm-key", "stt-key", "tts-key"], f"its credentials are four keys, not {sorted(kept)}")
    expect(all(stat.st_mode & 0o007 == 0 for stat in kept.values()), "they are not for everybody")
    return ", ".join(sorted(kept))


def it_runs_as_its_own_user_without_privileges():
    status = dict(line.split(":\t", 1) for line in Path("/proc", pid(), "status").read_text().splitlines() if ":\t" in line)
    expect(status["Uid"].split()[0] == "990", "it is the user viva")
    expect(int(status["CapBnd"], 16) == 0 and int(status["CapEff"], 16) == 0, "it has no capabilities")
    expect(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", "it can get none, and its system calls are filtered")
    core = next(line for line in Path("/proc", pid(), "limits").read_text().splitlines() if "core file" in line)
    expect(core.split()[4:6] == ["0", "0"], "it leaves no core dump")


def it_writes_its_state_alone_and_can_run_nothing_there():
    mounts = {}
    for line in Path("/proc", pid(), "mountinfo").read_text().splitlines():
        words = line.split()
        mounts[words[4]] = words[5].split(",")
    state = next(mounts[place] for place in ("/var/lib/viva", "/var/lib", "/var") if place in mounts)
    expect("rw" in state and "noexec" in state, f"the state directory is writable and noexec, not {state}")
    expect("ro" in mounts["/"], "the rest is read-only")
    directory = Path("/var/lib/viva")
    expect(directory.stat().st_mode & 0o777 == 0o700 and directory.owner() == "viva", "the state is viva's, 0700")
    journal = directory / "journal.sqlite3"
    expect(journal.stat().st_mode & 0o077 == 0, "nobody else reads the journal")


def its_exposure_is_low():
    table = json.loads(run("systemd-analyze", "security", "--json=short", UNIT).stdout)
    last = run("systemd-analyze", "security", "--no-pager", UNIT).stdout.strip().splitlines()[-1]
    exposure = float(re.search(r"(\d+\.\d+)", last).group(1))
    worst = ", ".join(f"{row['name']} {row['exposure']}" for row in table if row["set"] is False and float(row["exposure"] or 0) >= 0.2)
    expect(exposure <= EXPOSURE_MAX, f"systemd-analyze security says {exposure}, more than {EXPOSURE_MAX}: {worst}")
    return f"systemd-analyze security: {exposure}"


def its_journal_has_fields():
    entries = journal()
    stages = [entry for entry in entries if "STAGE" in entry]
    expect(stages, "there is an entry for each stage of the start")
    times = [entry["ELAPSED_MS"] for entry in stages if "ELAPSED_MS" in entry]
    expect(len(times) == len(stages) and all(value.isdigit() for value in times), "each with its time")
    expect(all(entry.get("PRIORITY") in "01234567" for entry in entries if entry.get("_COMM") == "viva"), "all with a priority")
    return f"{len(stages)} stages as STAGE and ELAPSED_MS"


def the_models_run_without_executable_memory():
    # Fallbacks here, they are loaded after READY.
    def fallbacks():
        return [stage for stage in healthz()["boot"] if stage["name"].endswith("fallback")]

    wait(lambda: len(fallbacks()) == 2, ENGINES_S_MAX, "Moonshine and Piper are loaded")
    if any("still not done" in stage.get("failure", "") for stage in fallbacks()):
        raise Skipped("this machine is too busy to load them in time")
    for line in Path("/proc", pid(), "maps").read_text().splitlines():
        permissions = line.split()[1]
        expect(not ("w" in permissions and "x" in permissions), f"no memory is writable and executable: {line}")
    expect(not [c for c, v in healthz()["components"].items() if v["state"] == "degraded"], "no component is degraded")


def a_reload_interrupts_nothing():
    catches_hangup()
    before, journal_then = pid(), len(journal())
    run("systemctl", "reload", UNIT, limit_s=START_S_MAX)
    expect(pid() == before, "the process is the same")
    expect(show("ActiveState") == "active" and show("Result") == "success", "it is active again")
    expect(http("/readyz") == 200, "/readyz says 200")
    expect(len(journal()) > journal_then, "it says in the journal what it did")


def a_reload_with_a_mistake_keeps_the_old_settings():
    catches_hangup()
    before, good = pid(), SETTINGS.read_text()
    SETTINGS.write_text(good + "\nmistake = true\n")
    try:
        run("systemctl", "reload", UNIT, check=False, limit_s=START_S_MAX)
        expect(pid() == before and http("/readyz") == 200, "the process is the same and ready")
        expect("mistake" in " ".join(entry.get("MESSAGE", "") for entry in journal()), "it names the mistake in the journal")
    finally:
        SETTINGS.write_text(good)


def a_journald_that_stands_still_holds_nothing_up():
    catches_hangup()
    before, said = pid(), len(journal())
    journald = int(show("MainPID", "systemd-journald.service"))
    os.kill(journald, signal.SIGSTOP)
    try:
        waiting = fill("/run/systemd/journal/socket")
        # It has something to say, and whoever sends it waits from here on.
        os.kill(int(before), signal.SIGHUP)
        end = time.monotonic() + WATCHDOG_S
        while time.monotonic() < end:
            expect(http("/readyz") == 200, "/readyz says 200 meanwhile")
            time.sleep(0.1)
    finally:
        os.kill(journald, signal.SIGCONT)
    expect(pid() == before, "the watchdog was fed: the process is the same")
    wait(lambda: len(journal()) > said, START_S_MAX, "the journal has what was said meanwhile")
    return f"for {WATCHDOG_S} s, behind {waiting} lines of somebody else"


def fill(address):
    """Sends to a socket that nobody reads until it takes nothing more; says how much that was."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect(address)
        for sent in range(100_000):
            try:
                sender.send(b"MESSAGE=noise\nPRIORITY=7\n")
            except BlockingIOError:
                return sent
    raise AssertionError(f"{address} is never full")


def a_second_instance_has_its_own_state_and_port():
    run("systemctl", "start", "viva@2.service", limit_s=START_S_MAX)
    expect(http("/readyz", 8788) == 200, "/readyz of the second says 200")
    expect(http("/readyz") == 200, "the first is not disturbed")
    expect(Path("/var/lib/viva-2/journal.sqlite3").exists(), "it has a journal of its own")
    run("systemctl", "stop", "viva@2.service", limit_s=START_S_MAX)


def a_process_that_hangs_is_replaced():
    before = pid()
    os.kill(int(before), signal.SIGSTOP)
    begun = time.monotonic()
    wait(lambda: pid() not in (before, "0") and show("ActiveState") == "active", WATCHDOG_S_MAX, "another process is ready")
    took = time.monotonic() - begun
    expect(http("/readyz") == 200, "/readyz says 200")
    expect(not list(Path("/").glob("core*")) + list(Path("/var/lib/viva").glob("core*")), "no core dump is left")
    return f"ready again {took:.1f} s after SIGSTOP"


def it_comes_back_from_twenty_kills():
    begun, kills = time.monotonic(), 0
    while kills < 20:
        expect(time.monotonic() - begun < 10, f"twenty kills fall into 10 s; after {kills} it was {show('ActiveState')}")
        process = pid()
        if process != "0":
            os.kill(int(process), signal.SIGKILL)
            kills += 1
            wait(lambda: pid() != process, 5, "systemd notices the kill")
        time.sleep(0.02)
    killing = time.monotonic() - begun
    begun = time.monotonic()
    wait(lambda: show("ActiveState") == "active" and http("/readyz") == 200, START_S_MAX, "it is ready")
    expect(int(show("NRestarts")) >= 20, "each kill was a restart")
    return f"20 kills in {killing:.1f} s, ready {time.monotonic() - begun:.1f} s after the last"


def it_stops_when_told_to():
    begun = time.monotonic()
    run("systemctl", "stop", UNIT, limit_s=35)
    took = time.monotonic() - begun
    expect(show("Result") == "success" and show("ActiveState") == "inactive", f"it ended by itself, not with {show('Result')}")
    run("systemctl", "start", UNIT, limit_s=START_S_MAX)
    return f"{took * 1000:.0f} ms, no interview running"


def wrong_settings_keep_it_down_and_are_named():
    good = SETTINGS.read_text()
    run("systemctl", "stop", UNIT, limit_s=35)
    SETTINGS.write_text(good.replace("capacity = 4", 'capacity = "many"'))
    try:
        run("systemctl", "start", UNIT, check=False, limit_s=START_S_MAX)
        wait(lambda: show("ActiveState") == "failed", 5, "it failed")
        expect(show("ExecMainStatus") == "78", f"it ended with 78, not {show('ExecMainStatus')}")
        restarts = show("NRestarts")
        # Ten times what a restart takes: none came.
        time.sleep(1)
        expect(show("NRestarts") == restarts and show("ActiveState") == "failed", "it is not started again")
        said = " ".join(entry.get("MESSAGE", "") for entry in journal())
        expect("interviews.capacity" in said, "the setting is named in the journal")
    finally:
        SETTINGS.write_text(good)
    run("systemctl", "start", UNIT, limit_s=START_S_MAX)
    expect(http("/readyz") == 200, "with the mistake corrected it is ready")


def a_page_waits_while_it_restarts():
    if b"LISTEN_FDS" not in Path(PROGRAM).read_bytes():
        raise Skipped("this program takes no socket from systemd")
    run("systemctl", "stop", UNIT, limit_s=35)
    run("systemctl", "start", "viva.socket")
    run("systemctl", "start", UNIT, limit_s=START_S_MAX)
    answers, over = [], threading.Event()

    def ask():
        while not over.is_set():
            answers.append(http("/healthz"))

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(3):
        run("systemctl", "restart", UNIT, limit_s=START_S_MAX)
    over.set()
    asking.join()
    run("systemctl", "stop", "viva.socket", UNIT, limit_s=35)
    run("systemctl", "start", UNIT, limit_s=START_S_MAX)
    expect(len(answers) >= 3 and set(answers) == {200}, f"every question is answered, not {[a for a in answers if a != 200][:5]} of {len(answers)}")
    return f"{len(answers)} answers during three restarts"


def pages_do_not_start_it_with_wrong_settings_for_ever():
    if b"LISTEN_FDS" not in Path(PROGRAM).read_bytes():
        raise Skipped("this program takes no socket from systemd")
    good = SETTINGS.read_text()
    run("systemctl", "stop", UNIT, limit_s=35)
    SETTINGS.write_text(good.replace("capacity = 4", 'capacity = "many"'))
    try:
        run("systemctl", "start", "viva.socket")
        http("/healthz")
        wait(lambda: show("Result", "viva.socket") == "trigger-limit-hit", 20, "the socket is given up")
        wait(lambda: show("ActiveState") == "failed", 5, "the service is down")
    finally:
        SETTINGS.write_text(good)
    run("systemctl", "restart", UNIT, limit_s=START_S_MAX)
    expect(http("/readyz") == 200, "with the mistake corrected it is ready, on a port of its own")


def an_operator_asks_it_beside_the_running_service():
    listed = run("bash", "/usr/local/bin/viva", "interviews", "--json")
    expect(isinstance(json.loads(listed.stdout), list), "`viva interviews` lists what is in the journal")
    strangers = [str(path) for path in Path("/var/lib/viva").rglob("*") if path.owner() != "viva"]
    expect(not strangers, f"nothing of root's is left in the state directory, not {strangers}")
    table = run("bash", "/usr/local/bin/viva", "check", check=False, limit_s=ENGINES_S_MAX).stdout
    verdicts = dict(reversed(line.split()[:2]) for line in table.splitlines() if re.match(r"(ok|degraded|failed) ", line))
    expect(verdicts.get("configuration") == "ok", "`viva check` reads the service's settings")
    expect(verdicts.get("journal") == verdicts.get("listener") == "ok", f"it is not in the service's way: {table}")
    expect(verdicts.get("livekit") == "failed" and "cannot reach LiveKit" in table, f"it has the key, and misses the server: {table}")


def an_interview_goes_on_after_a_kill_in_the_same_room_as_the_same_participant():
    if not os.access(LIVEKIT, os.X_OK):
        raise Skipped("no livekit-server here; name one in VIVA_LIVEKIT_SERVER")
    settings = Path("/run/livekit.json")
    rtc = {"node_ip": "127.0.0.1", "tcp_port": 7881, "udp_port": 7882, "use_external_ip": False, "stun_servers": ["127.0.0.1:7882"], "enable_loopback_candidate": True, "interfaces": {"includes": ["lo"]}}
    settings.write_text(json.dumps({"port": 7880, "bind_addresses": ["127.0.0.1"], "rtc": rtc, "keys": {"devkey": SECRETS["livekit"]}}))
    run("systemd-run", "--unit=livekit", "--collect", LIVEKIT, "--config", str(settings))
    try:
        wait(lambda: "registered" in show("StatusText"), LIVEKIT_S_MAX, "it is registered with LiveKit")
        livekit("CreateRoom", name="interview-kept", departure_timeout=300)

        def interviewers():
            # With its voice, which is published once it is all there.
            there = livekit("ListParticipants", room="interview-kept").get("participants", [])
            return [(one["identity"], one["sid"]) for one in there if one.get("state") == "ACTIVE" and one.get("tracks")]

        wait(lambda: len(interviewers()) == 1, LIVEKIT_S_MAX, "the interviewer is in the room")
        [(identity, first)] = interviewers()
        niceness = {name: nice for name, nice in threads() if name.startswith("audio-")}
        wanted = -10 if may_raise_priority() else 0
        expect(niceness and set(niceness.values()) == {wanted}, f"the audio threads come before the others: {niceness}")
        begun = time.monotonic()
        run("systemctl", "kill", "--signal=KILL", UNIT)

        def came_back():
            now = interviewers()
            return len(now) == 1 and now[0][0] == identity and now[0][1] != first

        wait(came_back, START_S_MAX + LIVEKIT_S_MAX, "one interviewer is there again, with the same identity")
        took = time.monotonic() - begun
        taken_up = [entry for entry in journal() if entry.get("INTERVIEW_ID") == "kept" and "TERM" in entry]
        expect(taken_up and taken_up[-1]["TERM"] == "2", f"the journal has INTERVIEW_ID and TERM of what was taken up, not {taken_up[-1:]}")
        listed = run("bash", "/usr/local/bin/viva", "interviews").stdout
        expect(listed.count("kept") >= 1 and "live" in listed, f"`viva interviews` lists it as live: {listed}")
        livekit("DeleteRoom", room="interview-kept")
        wait(lambda: "live" not in run("bash", "/usr/local/bin/viva", "interviews").stdout, LIVEKIT_S_MAX, "it ends with its room")
        return f"back in the room {took:.1f} s after the kill"
    finally:
        # Told to stop it would wait for those in its rooms.
        run("systemctl", "kill", "--signal=KILL", "livekit.service", check=False)


def litestream_copies_the_journal():
    if not os.access(LITESTREAM, os.X_OK):
        raise Skipped("no litestream here; name one in VIVA_LITESTREAM")
    configuration = Path("/etc/viva/litestream.yml")
    configuration.write_text(json.dumps({"dbs": [{"path": "/var/lib/viva/journal.sqlite3", "replica": {"type": "file", "path": "/var/lib/viva-copy/journal"}}]}))
    for directory in ("/var/lib/viva-copy", "/var/lib/viva-copy/journal", "/var/lib/viva-copy/journal-2"):
        Path(directory).mkdir()
        os.chown(directory, 990, 990)
    run("systemctl", "start", "viva-litestream.service")
    copied = Path("/var/lib/viva-copy/journal")
    wait(lambda: any(path.is_file() for path in copied.rglob("*")), 10, "the copy has files")
    restored = Path("/tmp/restored.sqlite3")
    restore = run(LITESTREAM, "restore", "-config", str(configuration), "-o", str(restored), "/var/lib/viva/journal.sqlite3", check=False)
    expect(restored.exists(), f"the copy can be restored: {restore.stderr.strip()}")
    expect(restored.read_bytes()[:15] == b"SQLite format 3", "it is a database")
    run("systemctl", "stop", "viva-litestream.service")
    expect(http("/readyz") == 200, "Viva does not care whether it runs")


def systemd_ignored_nothing():
    ignored = re.compile(r"Unknown (key|section|lvalue)|ignoring|Failed to parse|is obsolete|deprecated", re.IGNORECASE)
    lines = run("journalctl", "--no-pager", "_PID=1", "+", "_TRANSPORT=kernel", "+", "_COMM=systemd-executor", "+", "_COMM=(viva)").stdout.splitlines()
    found = [line for line in lines if ignored.search(line) and "viva" in line]
    expect(not found, "systemd said: " + "; ".join(found[:5]))


BEHAVIOURS = [
    every_line_of_the_units_is_understood,
    without_its_key_it_does_not_start,
    it_is_ready_with_the_key_from_its_credential,
    its_keys_are_nowhere_but_in_the_credentials,
    it_runs_as_its_own_user_without_privileges,
    it_writes_its_state_alone_and_can_run_nothing_there,
    its_exposure_is_low,
    its_journal_has_fields,
    the_models_run_without_executable_memory,
    a_reload_interrupts_nothing,
    a_reload_with_a_mistake_keeps_the_old_settings,
    a_journald_that_stands_still_holds_nothing_up,
    a_second_instance_has_its_own_state_and_port,
    it_comes_back_from_twenty_kills,
    a_process_that_hangs_is_replaced,
    it_stops_when_told_to,
    wrong_settings_keep_it_down_and_are_named,
    a_page_waits_while_it_restarts,
    pages_do_not_start_it_with_wrong_settings_for_ever,
    an_operator_asks_it_beside_the_running_service,
    an_interview_goes_on_after_a_kill_in_the_same_room_as_the_same_participant,
    litestream_copies_the_journal,
    systemd_ignored_nothing,
]


# What they are written with.


def expect(holds, what):
    if not holds:
        raise AssertionError(f"expected: {what}")


def wait(holds, limit_s, what):
    """Until it holds; the interval is short against everything that is waited for."""
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit_s} s: {what}; now {show('ActiveState')}, {show('StatusText')!r}")
        time.sleep(0.02)


def run(*command, check=True, limit_s=20):
    result = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    if check and result.returncode != 0:
        raise AssertionError(f"`{' '.join(command)}` ended with {result.returncode}: {result.stderr.strip()}")
    return result


def show(name, unit=UNIT):
    return run("systemctl", "show", "--value", "--property", name, unit).stdout.strip()


def pid():
    return show("MainPID")


def threads():
    """The name and the nice level of each thread of the service."""
    for status in Path(f"/proc/{pid()}/task").glob("*/stat"):
        name, _, rest = status.read_text().partition("(")[2].rpartition(")")
        # Fields 3 to 19 of proc(5).
        yield name, int(rest.split()[16])


def may_raise_priority():
    """Whether systemd could raise the limit as the unit says; in a container it may lack the capability."""
    limits = Path(f"/proc/{pid()}/limits").read_text()
    return limits.partition("Max nice priority")[2].split()[0] == "30"


def http(path, port=8787):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def livekit(method, **request):
    """What LiveKit's room service answers."""

    def encoded(part):
        return base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).rstrip(b"=")

    grants = {"roomCreate": True, "roomList": True, "roomAdmin": True, "room": request.get("room", request.get("name"))}
    token = encoded({"alg": "HS256", "typ": "JWT"}) + b"." + encoded({"iss": "devkey", "exp": int(time.time()) + 60, "video": grants})
    token += b"." + encoded(hmac.new(SECRETS["livekit"].encode(), token, hashlib.sha256).digest())
    headers = {"Authorization": "Bearer " + token.decode(), "Content-Type": "application/json"}
    asked = urllib.request.Request(f"http://127.0.0.1:7880/twirp/livekit.RoomService/{method}", json.dumps(request).encode(), headers)
    with urllib.request.urlopen(asked, timeout=5) as answer:
        return json.load(answer)


def healthz():
    with urllib.request.urlopen("http://127.0.0.1:8787/healthz", timeout=5) as answer:
        return json.load(answer)


def journal():
    lines = run("journalctl", "--no-pager", "--output=json", f"--unit={UNIT}").stdout.splitlines()
    return [json.loads(line) for line in lines]


def catches_hangup():
    """SIGHUP is bit 0 of the caught signals; a program that does not catch it would be ended by a reload."""
    line = next(line for line in Path("/proc", pid(), "status").read_text().splitlines() if line.startswith("SigCgt"))
    if not int(line.split()[1], 16) & 1:
        raise Skipped("this program does not catch SIGHUP")


def recover():
    """After a failure: what comes next finds the service running, if anything can make it run."""
    run("systemctl", "reset-failed", check=False)
    try:
        run("systemctl", "restart", UNIT, check=False, limit_s=45)
    except subprocess.TimeoutExpired:
        pass


def main(behaviours, what="The units"):
    version = run("systemctl", "--version").stdout.split()[1]
    print(f"{what} under systemd {version}:", flush=True)
    LOGS.mkdir(exist_ok=True)
    passed = failed = skipped = 0
    for behaviour in behaviours:
        name = behaviour.__name__.replace("_", " ")
        try:
            note = behaviour()
        except Skipped as reason:
            skipped += 1
            print(f"  {DIM}– {name}: {reason}{OFF}", flush=True)
        except Exception as error:  # whatever it is, the others are still worth knowing
            failed += 1
            (LOGS / f"{behaviour.__name__}.log").write_text(run("journalctl", "--no-pager", "--lines=60", "--output=short-monotonic").stdout)
            recover()
            print(f"  {RED}✗{OFF} {name}\n      {error if isinstance(error, AssertionError) else repr(error)}", flush=True)
        else:
            passed += 1
            print(f"  {GREEN}✓{OFF} {name}{f'  {DIM}{note}{OFF}' if note else ''}", flush=True)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""), flush=True)
    (LOGS / "status").write_text("1" if failed else "0")
    return failed


if __name__ == "__main__":
    main(BEHAVIOURS)
