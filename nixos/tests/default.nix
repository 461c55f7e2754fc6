# Tests on virtual machines, each with one process and with two.
{
  lib,
  callPackage,
  testers,
  viva-models,
  module,
}:

let
  instances = {
    one = 1;
    two = 2;
  };

  tests = {
    interview = ./interview.nix;
    faults = ./faults.nix;
    restore = ./restore.nix;
    switch = ./switch.nix;
  };

  common = {
    inherit lib;
    appliance = import ./appliance.nix { inherit module; };
    candidate = import ./candidate.nix {
      pythonClient = callPackage ../python-client.nix { };
      recordings = viva-models.override { withRecordings = true; };
    };
  };
in
lib.concatMapAttrs (
  test: file:
  lib.mapAttrs' (
    label: number:
    lib.nameValuePair "${test}-${label}" (
      testers.runNixOSTest (
        import file (common // { instances = number; }) // { name = "viva-${test}-${label}"; }
      )
    )
  ) instances
) tests
