# What `nix flake check` builds: the package, its lints, its format, the tests that need loopback alone, and the units of
# the two example machines.
{
  lib,
  nixosSystem,
  module,
  pkgs,
  stdenv,
  callPackage,
  rustPlatform,
  cacert,
  cargo,
  clippy,
  cmake,
  coturn,
  espeak-ng,
  litestream,
  livekit,
  llama-cpp,
  postgresql,
  rustc,
  rustfmt,
  viva,
  viva-models,
}:

let
  # Runs a Cargo command on the package's source, with the same vendored crates and without a network.
  check =
    name:
    {
      command,
      tools ? [ ],
      env ? { },
    }:
    stdenv.mkDerivation {
      pname = "viva-${name}";
      inherit (viva) version src cargoDeps;
      env = {
        SQLX_OFFLINE = "true";
      }
      // env;
      strictDeps = true;
      nativeBuildInputs = [
        rustPlatform.cargoSetupHook
        cargo
        cmake
        rustc
      ]
      ++ tools;
      # CMake is for a crate: this is no CMake project.
      dontUseCmakeConfigure = true;
      buildPhase = ''
        runHook preBuild
        ${command}
        runHook postBuild
      '';
      installPhase = "touch $out";
    };

  # The units of a machine, not the machine: what the module says is checked, its settings included.
  unitsOf =
    name: example:
    let
      inherit
        (nixosSystem {
          modules = [
            module
            example
            {
              nixpkgs.pkgs = pkgs;
              system.stateVersion = "26.05";
              # No disks and no boot loader, which an example has not.
              boot.isContainer = true;
            }
          ];
        })
        config
        ;
      failed = lib.filter (assertion: !assertion.assertion) config.assertions;
      units = lib.filterAttrs (unit: _: lib.hasPrefix "viva" unit) config.systemd.units;
    in
    assert lib.assertMsg (failed == [ ]) (
      lib.concatMapStringsSep "\n" (assertion: assertion.message) failed
    );
    pkgs.linkFarm "viva-units-of-${name}" (
      lib.mapAttrs (_: unit: unit.unit) units
      // lib.mapAttrs' (path: file: lib.nameValuePair (baseNameOf path) file.source) (
        lib.filterAttrs (path: _: lib.hasPrefix "viva/" path) config.environment.etc
      )
    );
in
{
  package = viva;

  module-one-host = unitsOf "one-host" ./example/one-host.nix;
  module-appliance = unitsOf "appliance" ./example/appliance.nix;

  clippy = check "clippy" {
    tools = [ clippy ];
    command = "cargo clippy --workspace --all-targets --offline --locked -- --deny warnings";
  };

  fmt = check "fmt" {
    tools = [ rustfmt ];
    command = "cargo fmt --all --check";
  };

  tests = check "tests" {
    tools = [
      coturn
      espeak-ng
      postgresql
    ];
    env =
      import ./test-env.nix {
        inherit
          lib
          litestream
          livekit
          llama-cpp
          viva
          viva-models
          ;
        pythonClient = callPackage ./python-client.nix { };
      }
      // {
        # As on any machine; the build environment names a file that does not exist.
        SSL_CERT_FILE = "${cacert}/etc/ssl/certs/ca-bundle.crt";
      };
    command = "cargo test --release --workspace --offline --locked";
  };
}
