# A new configuration, and back to the old one.
{ appliance, instances, ... }:

{
  nodes.appliance = {
    imports = [ (appliance { inherit instances; }) ];
    specialisation.next.configuration = {
      # Another unit, as a new release would have.
      systemd.services.viva.environment.VIVA_LOG__FILTER = "debug";
    };
  };

  testScript = ''
    def process():
        return appliance.succeed("systemctl show --value --property MainPID viva.service").strip()


    appliance.wait_for_unit("viva.service")
    system = appliance.succeed("readlink --canonicalize /run/current-system").strip()
    ready = "curl --silent --fail http://127.0.0.1:8787/readyz"
    appliance.wait_until_succeeds(ready)

    with subtest("a new release takes the place of the old one"):
        before = process()
        appliance.succeed(f"{system}/specialisation/next/bin/switch-to-configuration test")
        assert process() != before
        appliance.succeed(ready)

    with subtest("a rollback brings the old one back"):
        before = process()
        appliance.succeed(f"{system}/bin/switch-to-configuration test")
        assert process() != before
        appliance.succeed(ready)

    with subtest("switching to the same again interrupts nothing"):
        before = process()
        appliance.succeed(f"{system}/bin/switch-to-configuration test")
        assert process() == before
  '';
}
