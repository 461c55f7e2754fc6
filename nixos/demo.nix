# `viva demo` with everything that it needs from the store, the page's script too.
{
  lib,
  writeShellApplication,
  callPackage,
  espeak-ng,
  livekit,
  viva,
  viva-models-prepared,
}:

writeShellApplication {
  name = "viva-demo";
  runtimeEnv = {
    VIVA_INTERVIEWS__PLANS_DIRECTORY = "${viva}/share/viva/plans";
    VIVA_MODELS__DIRECTORY = "${viva-models-prepared}";
    VIVA_MODELS__ONNXRUNTIME = viva.onnxruntimeLibrary;
    VIVA_TTS__ESPEAK = lib.getExe espeak-ng;
  };
  text = ''
    exec ${lib.getExe viva} demo --livekit-server ${lib.getExe livekit} \
      --web-modules ${callPackage ./web.nix { }}/node_modules "$@"
  '';
}
