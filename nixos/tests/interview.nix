# An interview from end to end, between two machines.
{
  appliance,
  candidate,
  instances,
  ...
}:

{
  nodes = {
    appliance = appliance { inherit instances; };
    inherit candidate;
  };

  testScript = ''
    import json

    start_all()
    appliance.wait_for_unit("viva.service")
    appliance.wait_for_unit("livekit.service")

    with subtest("it is registered with LiveKit"):
        appliance.wait_until_succeeds(
            "systemctl show --value --property StatusText viva.service | grep --quiet 'registered with'"
        )

    with subtest("a candidate is asked, heard and answered"):
        candidate.wait_until_succeeds("curl --silent --fail http://appliance:7880")
        out = json.loads(candidate.succeed("candidate interview-first 3"))
        assert out["error"] is None, out
        assert out["answered"] == 3, out
        assert out["heard_ms"] is not None, out

    with subtest("what was said is in the journal"):
        found = []
        for directory in ${if instances == 1 then ''["viva"]'' else ''["viva", "viva-2"]''}:
            listed = appliance.succeed(f"VIVA_STATE_DIRECTORY=/var/lib/{directory} viva interviews --json")
            found += [directory for interview in json.loads(listed) if interview["id"] == "first"]
        assert len(found) == 1, found
        report = appliance.succeed(f"VIVA_STATE_DIRECTORY=/var/lib/{found[0]} viva report first")
        assert "mutex" in report, report
  '';
}
