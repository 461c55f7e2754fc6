# The variables by which the tests find what they run against.
{
  lib,
  litestream,
  livekit,
  llama-cpp,
  pythonClient,
  viva,
  viva-models,
}:

{
  VIVA_LITESTREAM = lib.getExe litestream;
  VIVA_LIVEKIT_SERVER = lib.getExe livekit;
  VIVA_LLAMA_SERVER = lib.getExe' llama-cpp "llama-server";
  VIVA_MODELS = "${viva-models.override { withRecordings = true; }}";
  VIVA_ONNXRUNTIME = viva.onnxruntimeLibrary;
  # Compiled into the binary that the tests start, which sees nothing else of this environment.
  VIVA_PACKAGED_ONNXRUNTIME = viva.onnxruntimeLibrary;
  VIVA_PYTHON = "${pythonClient}/bin/python3";
}
