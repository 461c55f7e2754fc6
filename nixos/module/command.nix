# The `viva` command for operators: with the service's settings, and never as root on the service's files.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.viva;

  command = pkgs.writeShellApplication {
    name = "viva";
    runtimeInputs = [
      pkgs.coreutils
      pkgs.util-linux
    ];
    text = ''
      export VIVA_CONFIG="''${VIVA_CONFIG:-/etc/viva/viva.toml}"
      # What root would create in the state directory, the service could not open.
      if [ "$(id --user)" = 0 ]; then
        exec runuser --user viva -- ${lib.getExe cfg.package} "$@"
      fi
      exec ${lib.getExe cfg.package} "$@"
    '';
  };
in
{
  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ command ];
  };
}
