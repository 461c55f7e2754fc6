# Stands in for the VM tests' own driver: evaluates each machine as far as its assertions and our units, and the script.
{
  lib,
  nixosSystem,
  named,
}:

test:
let
  machine =
    name: module:
    (nixosSystem {
      modules = [
        module
        {
          options.virtualisation = {
            cores = lib.mkOption { type = lib.types.ints.positive; };
            memorySize = lib.mkOption { type = lib.types.ints.positive; };
          };
          config = {
            networking.hostName = lib.mkDefault name;
            boot.isContainer = true;
            system.stateVersion = "26.05";
          };
        }
      ];
    }).config;

  units =
    name: module:
    let
      config = machine name module;
      failed = lib.filter (assertion: !assertion.assertion) config.assertions;
    in
    assert lib.assertMsg (failed == [ ]) (
      lib.concatMapStringsSep "\n" (assertion: assertion.message) failed
    );
    lib.mapAttrs (_: unit: unit.text) (
      lib.filterAttrs (unit: _: lib.hasPrefix "viva" unit) config.systemd.units
    );
in
named "vm-test-${test.name}" {
  given = {
    script = test.testScript;
    machines = lib.mapAttrs units test.nodes;
  };
}
