# A container image with the program, the models and the plans; settings come by the environment or a mounted file.
{
  lib,
  dockerTools,
  espeak-ng,
  viva,
  viva-models-prepared,
}:

dockerTools.buildLayeredImage {
  name = "viva";
  tag = viva.version;
  contents = [ dockerTools.caCertificates ];
  # The journal's place has to exist and belong to the user before a volume is mounted over it.
  fakeRootCommands = ''
    mkdir --parents --mode=1777 tmp
    install --directory --owner=10001 --group=10001 --mode=0700 var/lib/viva
  '';
  config = {
    User = "10001:10001";
    Entrypoint = [ (lib.getExe viva) ];
    Cmd = [ "serve" ];
    Env = [
      "VIVA_HTTP__LISTEN=0.0.0.0:8787"
      "VIVA_INTERVIEWS__PLANS_DIRECTORY=${viva}/share/viva/plans"
      "VIVA_MODELS__DIRECTORY=${viva-models-prepared}"
      "VIVA_STATE_DIRECTORY=/var/lib/viva"
      "VIVA_TTS__ESPEAK=${lib.getExe espeak-ng}"
    ];
    ExposedPorts."8787/tcp" = { };
    Volumes."/var/lib/viva" = { };
    StopSignal = "SIGTERM";
  };
}
