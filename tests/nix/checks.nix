# What is asked of the flake: mistakes that it refuses, what holds of its machines, and the files rendered from it.
{ project, nixpkgs }:

let
  stub = builtins.getFlake "path:${nixpkgs}";
  inherit (stub) lib;

  flake = (import (project + "/flake.nix")).outputs {
    self = flake // {
      outPath = project;
    };
    nixpkgs = stub;
  };

  machines = import ./machines.nix { inherit lib; };

  system =
    module:
    stub.lib.nixosSystem {
      modules = [
        flake.nixosModules.default
        {
          # Spares what nothing of ours depends on.
          boot.isContainer = true;
          system.stateVersion = "26.05";
        }
        module
      ];
    };
  evaluated = module: (system module).config;

  # The names of store paths stay, so that the tests under systemd can put the real thing there.
  stable =
    text:
    let
      parts = builtins.split "/nix/store/[0-9a-z]{32}-" (builtins.unsafeDiscardStringContext text);
    in
    lib.concatStringsSep "/nix/store/" (lib.filter lib.isString parts);

  failures = module: lib.filter (assertion: !assertion.assertion) (evaluated module).assertions;

  # By the type of an option, or by an assertion with the right words.
  verdict =
    { module, because }:
    let
      typed = builtins.tryEval (builtins.seq (evaluated module).systemd.units."viva.service".text true);
      messages = lib.concatMapStringsSep "\n" (failure: failure.message) (failures module);
    in
    if because == "type" then
      if typed.success then "it evaluates" else "refused"
    else if lib.hasInfix because messages then
      "refused"
    else
      "said: ${messages}";
in
{
  vmTests = lib.mapAttrs (_: test: test.drvPath) (
    lib.filterAttrs (_: lib.isDerivation) flake.legacyPackages.x86_64-linux.vmTests
  );

  refused = lib.mapAttrs (_: verdict) machines.refused;

  holds = lib.mapAttrs (_: holds: holds { inherit evaluated flake failures; }) machines.holds;

  rendered =
    let
      service = evaluated machines.service;
      litestream = evaluated machines.litestream;
      unit = config: name: stable config.systemd.units.${name}.text;
    in
    {
      "tests/systemd/units/viva.service" = unit service "viva.service";
      "tests/systemd/units/viva@2.service" = unit service "viva@2.service";
      "tests/systemd/units/viva.socket" = unit service "viva.socket";
      "tests/systemd/units/viva@2.socket" = unit service "viva@2.socket";
      "tests/systemd/units/viva-litestream.service" = unit litestream "viva-litestream.service";
      "tests/systemd/units/viva.toml" = stable (
        builtins.readFile service.environment.etc."viva/viva.toml".source.unchecked
      );
      "tests/systemd/units/viva.sh" = stable service.services.viva.command.text;
      "docs/nixos-options.md" = import (project + "/nixos/options-doc.nix") {
        inherit lib;
        inherit (system machines.service) options;
      };
    };
}
