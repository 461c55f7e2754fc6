# What it takes to work on Viva: the tools, and the servers and models that the tests and the demo look for.
{
  lib,
  mkShell,
  callPackage,
  cargo,
  clippy,
  cmake,
  coturn,
  espeak-ng,
  iproute2,
  litestream,
  livekit,
  llama-cpp,
  nftables,
  openssl,
  pkg-config,
  postgresql,
  rustc,
  rustfmt,
  sqlite,
  viva,
  viva-models,
}:

let
  pythonClient = callPackage ./python-client.nix { };
  testEnv = import ./test-env.nix {
    inherit
      lib
      litestream
      livekit
      llama-cpp
      pythonClient
      viva
      viva-models
      ;
  };
in
mkShell {
  packages = [
    cargo
    clippy
    cmake
    coturn
    espeak-ng
    iproute2
    litestream
    livekit
    nftables
    openssl
    pkg-config
    postgresql
    pythonClient
    rustc
    rustfmt
    sqlite
  ];

  env = testEnv // {
    VIVA_MODELS__DIRECTORY = testEnv.VIVA_MODELS;
  };
}
