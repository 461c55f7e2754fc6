# The journal of a machine that is gone goes on living on another one: Litestream's copy, restored.
{
  appliance,
  candidate,
  instances,
  ...
}:

let
  machine = {
    imports = [ (appliance { inherit instances; }) ];
    services.viva.litestream = {
      enable = true;
      replica = {
        type = "file";
        path = "/var/lib/viva-copy/journal";
      };
    };
  };
in
{
  nodes = {
    appliance = machine;
    spare = machine;
    inherit candidate;
  };

  testScript = ''
    import json

    directories = ${if instances == 1 then ''["viva"]'' else ''["viva", "viva-2"]''}


    def interviews(machine):
        listed = {}
        for directory in directories:
            told = machine.succeed(f"VIVA_STATE_DIRECTORY=/var/lib/{directory} viva interviews --json")
            listed |= {interview["id"]: directory for interview in json.loads(told)}
        return listed


    start_all()
    appliance.wait_for_unit("viva.service")
    appliance.wait_for_unit("viva-litestream.service")
    candidate.wait_until_succeeds("curl --silent --fail http://appliance:7880")

    with subtest("an interview is held and copied"):
        out = json.loads(candidate.succeed("candidate interview-kept 3"))
        assert out["error"] is None, out
        kept = interviews(appliance)["kept"]
        # Its sync interval is one second.
        appliance.sleep(5)
        appliance.crash()

    with subtest("another machine has what was said"):
        spare.wait_for_unit("viva.service")
        spare.succeed("systemctl stop viva.service viva.socket viva-litestream.service")
        ${
          if instances == 2 then
            ''spare.succeed("systemctl stop viva@2.service viva@2.socket")''
          else
            "pass"
        }
        appliance.start()
        appliance.wait_for_unit("multi-user.target")
        appliance.copy_from_vm("/var/lib/viva-copy", "copies")
        # Into a directory that is there it would be copied as a part of it.
        spare.succeed("rm --recursive /var/lib/viva-copy")
        spare.copy_from_host(str(appliance.out_dir / "copies/viva-copy"), "/var/lib/viva-copy")
        for directory in directories:
            spare.succeed(f"mv /var/lib/{directory} /var/lib/{directory}-before")
            spare.succeed(f"install --directory --owner=viva --group=viva --mode=0700 /var/lib/{directory}")
            spare.succeed(
                "chown --recursive viva:viva /var/lib/viva-copy && runuser --user viva -- "
                f"litestream restore -config /etc/viva/litestream.yml /var/lib/{directory}/journal.sqlite3"
            )
        spare.succeed("systemctl start viva.service")
        spare.wait_until_succeeds("curl --silent --fail http://127.0.0.1:8787/readyz")
        assert interviews(spare)["kept"] == kept, interviews(spare)
        report = spare.succeed(f"VIVA_STATE_DIRECTORY=/var/lib/{kept} viva report kept")
        assert "mutex" in report, report
  '';
}
