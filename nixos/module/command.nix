# The `viva` command for operators: with the service's settings, and never as root on the service's files.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.viva;
  viva = lib.getExe cfg.package;

  # With the service's keys, and beside it: another journal and another port are tried than those that are in use.
  check = [
    "systemd-run"
    "--quiet"
    "--collect"
    "--pipe"
    "--wait"
    "--service-type=exec"
    "--uid=viva"
    "--gid=viva"
    "--property=PrivateTmp=yes"
  ]
  ++ map (credential: "--property=LoadCredential=${credential}") (
    import ./credentials.nix { inherit lib cfg; }
  )
  ++ [
    "--setenv=VIVA_HTTP__LISTEN=127.0.0.1:0"
    "--setenv=VIVA_STATE_DIRECTORY=/tmp/viva"
    "--setenv=VIVA_CONFIG"
    "--"
    viva
  ];

  command = pkgs.writeShellApplication {
    name = "viva";
    runtimeInputs = [
      config.systemd.package
      pkgs.coreutils
      pkgs.util-linux
    ];
    text = ''
      export VIVA_CONFIG="''${VIVA_CONFIG:-/etc/viva/viva.toml}"
      if [ "$(id --user)" != 0 ]; then
        exec ${viva} "$@"
      fi
      if [ "''${1:-}" = check ]; then
        exec ${lib.escapeShellArgs check} "$@"
      fi
      # What root would create in the state directory, the service could not open.
      exec setpriv --reuid=viva --regid=viva --init-groups --no-new-privs -- ${viva} "$@"
    '';
  };
in
{
  options.services.viva.command = lib.mkOption {
    type = lib.types.package;
    internal = true;
    readOnly = true;
    default = command;
    description = "The command.";
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ command ];
  };
}
