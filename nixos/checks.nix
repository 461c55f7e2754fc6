# What `nix flake check` builds: the package, its lints, its format, and the tests that need loopback alone.
{
  lib,
  stdenv,
  callPackage,
  rustPlatform,
  cacert,
  cargo,
  clippy,
  cmake,
  espeak-ng,
  livekit,
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
      inherit env;
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
in
{
  package = viva;

  clippy = check "clippy" {
    tools = [ clippy ];
    command = "cargo clippy --workspace --all-targets --offline --locked -- --deny warnings";
  };

  fmt = check "fmt" {
    tools = [ rustfmt ];
    command = "cargo fmt --all --check";
  };

  tests = check "tests" {
    tools = [ espeak-ng ];
    env =
      import ./test-env.nix {
        inherit
          lib
          livekit
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
