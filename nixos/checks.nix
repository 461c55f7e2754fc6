# What `nix flake check` builds: the package, its lints, its format, the tests that need loopback alone, the alerts, and the
# units of the example machines.
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
  openssl,
  postgresql,
  prometheus,
  python3,
  runCommand,
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

  appliances = import ./example/two-appliances.nix;
in
{
  package = viva;

  module-one-host = unitsOf "one-host" ./example/one-host.nix;
  module-appliance-a = unitsOf "appliance-a" appliances.viva-a;
  module-appliance-b = unitsOf "appliance-b" appliances.viva-b;

  alerts = runCommand "viva-alerts" { nativeBuildInputs = [ prometheus.cli ]; } ''
    promtool check rules ${./monitoring/alerts.yml}
    cp ${./monitoring/alerts.yml} alerts.yml
    cp ${./monitoring/alerts_test.yml} alerts_test.yml
    promtool test rules alerts_test.yml
    touch "$out"
  '';

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
      openssl
      postgresql
      # What `models/fetch` runs on.
      (python3.withPackages (packages: [ packages.pip ]))
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
