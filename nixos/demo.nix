# `viva demo` with everything that it needs from the store.
{
  lib,
  writeShellApplication,
  espeak-ng,
  livekit,
  viva,
  viva-models,
}:

writeShellApplication {
  name = "viva-demo";
  runtimeEnv = {
    VIVA_INTERVIEWS__PLANS_DIRECTORY = "${viva}/share/viva/plans";
    VIVA_MODELS__DIRECTORY = "${viva-models}";
    VIVA_MODELS__ONNXRUNTIME = viva.onnxruntimeLibrary;
    VIVA_TTS__ESPEAK = lib.getExe espeak-ng;
  };
  text = ''
    exec ${lib.getExe viva} demo --livekit-server ${lib.getExe livekit} "$@"
  '';
}
