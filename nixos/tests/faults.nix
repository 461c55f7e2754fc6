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


    start_all()
    for unit in units:
        appliance.wait_for_unit(unit)
        wait_ready(unit)

    with subtest("killed in the middle of an interview, it goes on with it"):
        candidate.wait_until_succeeds("curl --silent --fail http://appliance:7880")
        candidate.execute("candidate interview-killed 3 >/tmp/killed.json 2>&1 &")
        held = "curl --silent http://127.0.0.1:{}/healthz | grep --quiet '\"detail\":\"1 of'"
        appliance.wait_until_succeeds(" || ".join(held.format(ports[unit]) for unit in units))
        for unit in units:
            before = process(unit)
            appliance.succeed(f"kill -KILL {before}")
            wait_replaced(unit, before)
        candidate.wait_until_succeeds("test -s /tmp/killed.json")
        out = json.loads(candidate.succeed("cat /tmp/killed.json"))
        assert out["error"] is None and out["answered"] == 3, out

    with subtest("stopped, it is replaced by the watchdog"):
        before = process("viva.service")
        appliance.succeed(f"kill -STOP {before}")
        wait_replaced("viva.service", before)
        appliance.succeed("journalctl --unit viva.service | grep --quiet 'Watchdog timeout'")
        appliance.fail("coredumpctl --no-pager list viva")

    with subtest("without memory, it is ended by the kernel and comes back"):
        before = process("viva.service")
        appliance.succeed("systemctl set-property --runtime viva.service MemoryMax=16M MemorySwapMax=0")
        appliance.wait_until_succeeds("journalctl --unit viva.service | grep --quiet 'OOM killer'")
        appliance.succeed("systemctl set-property --runtime viva.service MemoryMax=2G")
        wait_replaced("viva.service", before)

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
        candidate.execute("candidate interview-copied 2 >/tmp/copied.json 2>&1 &")
        appliance.wait_until_succeeds(" || ".join(held.format(ports[unit]) for unit in units))
        appliance.succeed("systemctl restart postgresql.service")
        candidate.wait_until_succeeds("test -s /tmp/copied.json")
        copied("copied")

    with subtest("after the machine lost its power, it is ready by itself"):
        appliance.crash()
        appliance.start()
        for unit in units:
            appliance.wait_for_unit(unit)
            wait_ready(unit)
  '';
}
