# `viva.service`, its further instances, and the user that they run as.
{
  config,
  lib,
  utils,
  ...
}:

let
  cfg = config.services.viva;
  instances = import ./instances.nix { inherit lib cfg; };

  listen =
    port: "${lib.removeSuffix ":${toString cfg.http.port}" cfg.settings.http.listen}:${toString port}";

  service =
    {
      n,
      directory,
      port,
      ...
    }:
    {
      description =
        "Technical voice interviews in LiveKit rooms" + lib.optionalString (n > 1) " (${toString n})";
      wantedBy = [ "multi-user.target" ];
      # At shutdown the network outlives the last sentences. Nothing else is waited for: what is off the machine, and the
      # database, may come later or never.
      after = [ "network.target" ];

      # A service that interviews depend on is never given up.
      startLimitIntervalSec = 0;

      # One step instead of two: a switch interrupts for as long as the program takes to start.
      stopIfChanged = false;
      reloadTriggers = lib.attrValues cfg.files;

      # The settings file is the same for all; these two differ.
      environment = lib.mkIf (n > 1) {
        VIVA_STATE_DIRECTORY = "/var/lib/${directory}";
        VIVA_HTTP__LISTEN = listen port;
      };

      serviceConfig =
        import ./hardening.nix {
          directories = [ directory ];
        }
        // {
          Type = "notify-reload";
          NotifyAccess = "main";
          ExecStart = utils.escapeSystemdExecArgs [
            (lib.getExe cfg.package)
            "serve"
            "--config"
            "/etc/viva/viva.toml"
          ];

          User = "viva";
          Group = "viva";
          StateDirectory = directory;
          StateDirectoryMode = "0700";
          RuntimeDirectory = directory;
          RuntimeDirectoryMode = "0750";
          LoadCredential = import ./credentials.nix { inherit lib cfg; };

          # It comes back at once and always, but for settings that are wrong: those are as wrong the next time.
          Restart = "always";
          RestartSec = "100ms";
          RestartPreventExitStatus = 78;

          # The start gives up by itself before (boot.limit_ms), and names the cause. A reload has the same time.
          TimeoutStartSec = "45s";
          # Stuck for so long, an interview is lost anyway.
          WatchdogSec = "10s";
          # The watchdog's abort has nothing to write: without a core there are no keys or voices in a file.
          TimeoutAbortSec = "5s";
          LimitCORE = 0;
          # The audio threads come before everything else that this service does.
          LimitNICE = -10;
          # Running interviews are handed over to the next process at the end of their sentence. Only the main process is
          # asked to: the others are what it speaks with.
          TimeoutStopSec = "30s";
          KillMode = "mixed";

          MemoryHigh = cfg.memory.high;
          MemoryMax = cfg.memory.max;
          TasksMax = 1024;
          LimitNOFILE = 16384;
          # A child that is killed is one sentence's trouble; and of all on this machine, this is not the first to go.
          OOMPolicy = "continue";
          OOMScoreAdjust = -500;

          # ICE asks the kernel for the machine's addresses by netlink.
          RestrictAddressFamilies = [
            "AF_UNIX"
            "AF_INET"
            "AF_INET6"
            "AF_NETLINK"
          ];
          SystemCallFilter = [
            "@system-service"
            "~@privileged @resources"
            # The sound raises the priority of its threads, and inference lowers that of its own.
            "setpriority"
          ];
        };
    };
in
{
  config = lib.mkIf cfg.enable {
    systemd.services = lib.listToAttrs (
      map (instance: lib.nameValuePair instance.unit (service instance)) instances
    );

    # The port is open before the program is there and while it starts again: a page waits and is not refused.
    systemd.sockets = lib.listToAttrs (
      map (
        { unit, port, ... }:
        lib.nameValuePair unit {
          description = "HTTP of Viva";
          wantedBy = [ "sockets.target" ];
          listenStreams = [ (listen port) ];
          # With wrong settings every page would start it again; after a few it stays down, as it should.
          socketConfig = {
            TriggerLimitIntervalSec = "10s";
            TriggerLimitBurst = 5;
          };
        }
      ) instances
    );

    users.users.viva = {
      description = "Viva";
      isSystemUser = true;
      group = "viva";
    };
    users.groups.viva = { };

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall.http (
      map (instance: instance.port) instances
    );
    services.livekit.openFirewall = lib.mkIf cfg.openFirewall.media true;
  };
}
