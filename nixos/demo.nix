# `viva demo` with everything that it needs from the store; the page's script comes by npm when somebody wants to talk.
{
  lib,
  writeShellApplication,
  coreutils,
  espeak-ng,
  livekit,
  nodejs,
  viva,
  viva-models-prepared,
}:

writeShellApplication {
  name = "viva-demo";
  runtimeInputs = [
    coreutils
    nodejs
  ];
  runtimeEnv = {
    VIVA_INTERVIEWS__PLANS_DIRECTORY = "${viva}/share/viva/plans";
    VIVA_MODELS__DIRECTORY = "${viva-models-prepared}";
    VIVA_MODELS__ONNXRUNTIME = viva.onnxruntimeLibrary;
    VIVA_TTS__ESPEAK = lib.getExe espeak-ng;
  };
  text = ''
    web="''${XDG_CACHE_HOME:-$HOME/.cache}/viva/demo-${viva.version}"
    case " $* " in
      *" --stay "*)
        if [ ! -e "$web/node_modules/livekit-client" ]; then
          mkdir --parents "$web"
          install --mode=644 --target-directory="$web" ${../web/package.json} ${../web/package-lock.json}
          npm ci --prefix "$web" --silent --no-audit --no-fund
        fi
        ;;
    esac
    exec ${lib.getExe viva} demo --livekit-server ${lib.getExe livekit} --web-modules "$web/node_modules" "$@"
  '';
}
