# `viva-litestream.service`: copies the journals elsewhere while they are written. Restoring is an operator's command.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:

let
  cfg = config.services.viva;
  instances = import ./instances.nix { inherit lib cfg; };
  hardening = import ./hardening.nix {
    directories = map (instance: instance.directory) instances;
  };

  # Each instance has a place of its own.
  suffixed = n: place: if n == 1 then place else "${place}-${toString n}";
  replica =
    n:
    lib.mapAttrs (
      key: value:
      if
        lib.elem key [
          "path"
          "url"
        ]
      then
        suffixed n value
      else
        value
    ) cfg.litestream.replica;

  # A copy on another disk of this machine, or on what is mounted there.
  directories = lib.optionals (cfg.litestream.replica.type or null == "file") (
    map (instance: suffixed instance.n cfg.litestream.replica.path) instances
  );

  configuration = (pkgs.formats.yaml { }).generate "viva-litestream.yml" (
    cfg.litestream.settings
    // {
      dbs = map (instance: {
        path = "/var/lib/${instance.directory}/journal.sqlite3";
        replica = replica instance.n;
      }) instances;
    }
  );
in
{
  config = lib.mkIf (cfg.enable && cfg.litestream.enable) {
    environment.etc."viva/litestream.yml".source = configuration;

    systemd.services.viva-litestream = {
      description = "Copies the journals of Viva elsewhere";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ];
      # At shutdown it goes last, so that the last events are copied too. Neither needs the other to start.
      before = map (instance: "${instance.unit}.service") instances;
      startLimitIntervalSec = 0;
      restartTriggers = [ configuration ];

      environment = lib.mkIf (cfg.litestream.credentials ? aws) {
        AWS_SHARED_CREDENTIALS_FILE = "%d/aws";
      };

      serviceConfig = hardening // {
        ExecStart = utils.escapeSystemdExecArgs [
          (lib.getExe cfg.litestream.package)
          "replicate"
          "-config"
          "/etc/viva/litestream.yml"
        ];
        User = "viva";
        Group = "viva";
        StateDirectory = map (instance: instance.directory) instances;
        StateDirectoryMode = "0700";
        ReadWritePaths = directories;
        LoadCredential = lib.mapAttrsToList (name: file: "${name}:${file}") cfg.litestream.credentials;
        Restart = "always";
        RestartSec = "1s";
        TimeoutStopSec = "30s";
        LimitCORE = 0;
        MemoryMax = "512M";
        TasksMax = 128;
        OOMScoreAdjust = 100;
        RestrictAddressFamilies = [
          "AF_UNIX"
          "AF_INET"
          "AF_INET6"
        ];
        SystemCallFilter = [
          "@system-service"
          "~@privileged @resources"
        ];
      };
    };

    systemd.tmpfiles.settings.viva-litestream = lib.genAttrs directories (_: {
      d = {
        user = "viva";
        group = "viva";
        mode = "0700";
      };
    });

    environment.systemPackages = [ cfg.litestream.package ];
  };
}
