# What happens to the service when something is taken from it.
{
  appliance,
  candidate,
  instances,
  lib,
  ...
}:

let
  units = [ "viva.service" ] ++ lib.optional (instances == 2) "viva@2.service";
in
{
  nodes = {
    appliance = appliance { inherit instances; };
    inherit candidate;
  };

  testScript = ''
    import json

    units = ${builtins.toJSON units}
    ports = {"viva.service": 8787, "viva@2.service": 8788}


    def process(unit):
        return appliance.succeed(f"systemctl show --value --property MainPID {unit}").strip()


    def wait_ready(unit):
        appliance.wait_until_succeeds(f"curl --silent --fail http://127.0.0.1:{ports[unit]}/readyz")


    def wait_replaced(unit, before):
        appliance.wait_until_succeeds(
            f"pid=$(systemctl show --value --property MainPID {unit}); [ $pid != 0 ] && [ $pid != {before} ]"
        )
        wait_ready(unit)


    def hold(interview, answers=3):
        """Begins an interview and says which unit has it. One before it may still say its goodbye."""
        for unit in units:
            appliance.wait_until_succeeds(f"curl --silent http://127.0.0.1:{ports[unit]}/healthz | grep --quiet '\"detail\":\"0 of'", timeout=180)
        candidate.execute(f"candidate interview-{interview} {answers} >/tmp/{interview}.json 2>/tmp/{interview}.log &")
        held = "curl --silent http://127.0.0.1:{}/healthz | grep --quiet '\"detail\":\"1 of'"
        appliance.wait_until_succeeds(" || ".join(held.format(ports[unit]) for unit in units))
        return next(unit for unit in units if appliance.execute(held.format(ports[unit]))[0] == 0)


    def came_to_its_end(interview, answers=3):
        candidate.wait_until_succeeds(f"test -s /tmp/{interview}.json")
        out = json.loads(candidate.succeed(f"cat /tmp/{interview}.json"))
        assert out["error"] is None and out["answered"] == answers, out


    start_all()
    for unit in units:
        appliance.wait_for_unit(unit)
        wait_ready(unit)

    with subtest("killed in the middle of an interview, it goes on with it"):
        candidate.wait_until_succeeds("curl --silent --fail http://appliance:7880")
        hold("killed")
        for unit in units:
            before = process(unit)
            appliance.succeed(f"kill -KILL {before}")
            wait_replaced(unit, before)
        came_to_its_end("killed")

    with subtest("stopped in the middle of an interview, it is replaced by the watchdog and goes on with it"):
        unit = hold("stopped")
        before = process(unit)
        appliance.succeed(f"kill -STOP {before}")
        wait_replaced(unit, before)
        appliance.succeed(f"journalctl --unit {unit} | grep --quiet 'Watchdog timeout'")
        appliance.fail("coredumpctl --no-pager list viva")
        came_to_its_end("stopped")

    with subtest("without memory, it is ended by the kernel, comes back and goes on with the interview"):
        unit = hold("starved")
        before = process(unit)
        appliance.succeed(f"systemctl set-property --runtime {unit} MemoryMax=16M MemorySwapMax=0")
        appliance.wait_until_succeeds(f"journalctl --unit {unit} | grep --quiet 'OOM killer'")
        appliance.succeed(f"systemctl set-property --runtime {unit} MemoryMax=2G")
        wait_replaced(unit, before)
        came_to_its_end("starved")

    with subtest("without LiveKit it is ready, and registers when LiveKit is back"):
        appliance.succeed("systemctl stop livekit.service")
        before = process("viva.service")
        appliance.succeed("systemctl restart viva.service")
        wait_ready("viva.service")
        appliance.succeed("systemctl start livekit.service")
        appliance.wait_until_succeeds(
            "systemctl show --value --property StatusText viva.service | grep --quiet 'registered with'"
        )

    def copied(interview):
        query = f"SELECT count(*) FROM viva.interviews WHERE interview_id = '{interview}' AND ended_at IS NOT NULL"
        command = f'runuser --user postgres -- psql --dbname viva --tuples-only --no-align --command "{query}"'
        appliance.wait_until_succeeds(f"{command} | grep --quiet --line-regexp 1")


    with subtest("without PostgreSQL interviews are held, and are copied when it comes and comes back"):
        appliance.succeed("systemctl stop postgresql.service")
        for unit in units:
            before = process(unit)
            appliance.succeed(f"systemctl restart {unit}")
            wait_ready(unit)
        candidate.wait_until_succeeds("candidate interview-uncopied 1")
        appliance.succeed("systemctl start postgresql.service")
        copied("uncopied")
        hold("copied", answers=2)
        appliance.succeed("systemctl restart postgresql.service")
        came_to_its_end("copied", answers=2)
        copied("copied")

    with subtest("a reboot is not held up by an interview, and keeps it"):
        unit = hold("rebooted")
        # What the unit has said so far is of earlier ends.
        said = f"journalctl --unit {unit} --lines=1 --show-cursor --output=cat"
        cursor = appliance.succeed(f"{said} | sed --quiet 's/^-- cursor: //p'").strip()
        appliance.shutdown()
        appliance.start()
        for each in units:
            appliance.wait_for_unit(each)
            wait_ready(each)
        # It handed over, and was not waited for until it was killed.
        end = appliance.succeed(f"journalctl --boot=-1 --after-cursor='{cursor}' --unit {unit} --output=cat")
        assert "Deactivated successfully" in end and "timed out" not in end, end
        directory = "/var/lib/viva" if unit == "viva.service" else "/var/lib/viva-2"
        kept = json.loads(appliance.succeed(f"VIVA_STATE_DIRECTORY={directory} viva interviews --json"))
        assert "rebooted" in [interview["id"] for interview in kept], kept

    with subtest("after the machine lost its power, it is ready by itself"):
        appliance.crash()
        appliance.start()
        for unit in units:
            appliance.wait_for_unit(unit)
            wait_ready(unit)
  '';
}
