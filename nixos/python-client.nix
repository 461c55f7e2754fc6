# Python with LiveKit's official client, which plays the candidate in the tests.
{
  lib,
  stdenv,
  autoPatchelfHook,
  fetchPypi,
  python3,
}:

let
  inherit (stdenv.hostPlatform) parsed system;

  version = "1.2.1";
  hashes = {
    x86_64-linux = "sha256-yaAmnMI6iJ4g9xZAWln7rjdaAkjqPS0EPaEDz7C3FxE=";
    aarch64-linux = "sha256-ij3TZXTV33Pbpbqo++2XQB4ltRqziCL+LEdp/vmU8J0=";
  };

  requirements = lib.splitString "\n" (lib.readFile ../tests/python/requirements.txt);

  livekit = python3.pkgs.buildPythonPackage {
    pname = "livekit";
    inherit version;
    format = "wheel";
    src = fetchPypi {
      pname = "livekit";
      inherit version;
      format = "wheel";
      dist = "py3";
      python = "py3";
      platform = "manylinux_2_28_${parsed.cpu.name}";
      hash = hashes.${system};
    };
    # The wheel's library asks for the C compiler's runtime, which is in no common place.
    nativeBuildInputs = [ autoPatchelfHook ];
    buildInputs = [ (lib.getLib stdenv.cc.cc) ];
    dependencies = [
      python3.pkgs.aiofiles
      python3.pkgs.numpy
      python3.pkgs.protobuf
      python3.pkgs.types-protobuf
    ];
    pythonImportsCheck = [ "livekit.rtc" ];
  };
in
assert lib.assertMsg (lib.elem "livekit==${version}" requirements)
  "nixos/python-client.nix has version ${version} of livekit, and tests/python/requirements.txt another: pin the same";
python3.withPackages (pkgs: [
  livekit
  pkgs.livekit-api
  pkgs.numpy
])
