# The `viva` program, the plans that come with it, and where it finds ONNX Runtime.
{
  lib,
  rustPlatform,
  cmake,
  onnxruntime,
}:

let
  manifest = (lib.importTOML ../Cargo.toml).package;
  onnxruntimeLibrary = "${lib.getLib onnxruntime}/lib/libonnxruntime.so";
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  # Named one by one, so that a change to anything else builds nothing again.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../clippy.toml
      ../src
      ../.sqlx
      ../libwebrtc
      ../sqlx-sqlite
      ../models/fetch
      ../models/manifest.toml
      ../migrations
      ../plans
      ../benches
      ../tests
      ../viva.example.toml
      ../web/operator.css
      ../web/operator.html
      ../web/operator.js
      ../web/talk.html
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;

  # Opus is built from the source in its crate.
  nativeBuildInputs = [ cmake ];

  buildType = "dist";
  cargoBuildFlags = [ "--bin=viva" ];
  env = {
    # Queries are checked against .sqlx, as .cargo/config.toml has it in a checkout.
    SQLX_OFFLINE = "true";
    VIVA_PACKAGED_ONNXRUNTIME = onnxruntimeLibrary;
  };

  # The tests need servers and models, and are a check of the flake.
  doCheck = false;

  postInstall = ''
    install -D --mode=644 --target-directory="$out/share/viva/plans" plans/*.toml
  '';

  passthru = { inherit onnxruntimeLibrary; };

  meta = {
    inherit (manifest) description;
    license = lib.licenses.asl20;
    mainProgram = "viva";
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
    ];
  };
}
