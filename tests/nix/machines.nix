# Machines with `services.viva`, right ones and wrong ones.
{ lib }:

let
  viva = settings: {
    services.viva = lib.mkMerge [
      {
        enable = true;
        livekit.keyFile = "/run/keys/livekit";
      }
      settings
    ];
  };
in
{
  # What the tests under systemd run.
  service = viva {
    instances = 2;
    settings.interviews.capacity = 4;
    # Nobody answers there: what is off the machine neither stops nor delays a start.
    providers =
      let
        nobody = {
          baseUrl = "https://provider.invalid/v1";
          keyFile = "/run/keys/provider";
        };
      in
      {
        stt = nobody;
        tts = nobody;
        llm = nobody;
      };
  };

  # Its unit beside those.
  litestream = viva {
    litestream = {
      enable = true;
      replica = {
        type = "file";
        path = "/var/lib/viva-copy/journal";
      };
    };
  };

  refused = {
    "more than 50 interviews in one process" = {
      module = viva { settings.interviews.capacity = 51; };
      because = "raise services.viva.instances";
    };
    "plans without the default one" = {
      module = viva { plans.other = ../../plans/demo.toml; };
      because = ''services.viva.plans has no "default"'';
    };
    "a key file among the settings" = {
      module = viva { settings.livekit.key_file = "/run/keys/livekit"; };
      because = "Use services.viva.livekit.keyFile";
    };
    "the operator's key file among the settings" = {
      module = viva { settings.http.operator_key_file = "/run/keys/operator"; };
      because = "Use services.viva.http.operatorKeyFile";
    };
    "a provider's key file among the settings" = {
      module = viva { settings.llm.api_key_file = "/run/keys/llm"; };
      because = "Use services.viva.providers.llm.keyFile";
    };
    "a database without an address" = {
      module = viva { postgres.enable = true; };
      because = "services.viva.postgres.url";
    };
    "a webhook that anybody could post to" = {
      module = viva { webhook.url = "https://platform.example.org/hook"; };
      because = "services.viva.webhook.secretFile";
    };
    "a copy that goes nowhere" = {
      module = viva { litestream.enable = true; };
      because = "services.viva.litestream.replica";
    };
    "open media ports without a LiveKit" = {
      module = viva { openFirewall.media = true; };
      because = "services.livekit, which is not enabled";
    };
    "a secret in the Nix store" = {
      module = viva {
        providers.stt.keyFile = "/nix/store/00000000000000000000000000000000-key";
      };
      because = "type";
    };
    "no key for LiveKit" = {
      module.services.viva.enable = true;
      because = "type";
    };
    "an option that does not exist" = {
      module = viva { instance = 2; };
      because = "type";
    };
    "an address that is no LiveKit's" = {
      module = viva { livekit.url = "https://livekit.example.org"; };
      because = "type";
    };
  };

  holds = {
    "a sound machine has no complaint" =
      { failures, ... }:
      failures (viva { }) == [ ];

    "a machine without Viva has nothing of it" =
      { evaluated, ... }:
      let
        config = evaluated { };
      in
      !(config.systemd.services ? viva) && !(config.users.users ? viva);

    "nothing secret is in the settings file" =
      { evaluated, ... }:
      let
        config = evaluated (viva {
          providers.stt.keyFile = "/run/keys/stt";
          postgres = {
            enable = true;
            createLocally = true;
            passwordFile = "/run/keys/postgres";
          };
        });
        file = builtins.readFile config.environment.etc."viva/viva.toml".source.unchecked;
      in
      !(lib.hasInfix "/run/keys" file);

    "a change of plans changes nothing of the unit but what it is reloaded for" =
      { evaluated, ... }:
      let
        unit =
          plans:
          (evaluated (viva {
            inherit plans;
          })).systemd.units."viva.service".text;
        withoutTriggers =
          text: lib.filter (line: !lib.hasPrefix "X-Reload-Triggers" line) (lib.splitString "\n" text);
        before = unit { default = ../../plans/default.toml; };
        after = unit { default = ../../plans/demo.toml; };
      in
      before != after && withoutTriggers before == withoutTriggers after;

    "the service needs no database, and waits for none" =
      { evaluated, ... }:
      let
        service =
          (evaluated (viva {
            postgres = {
              enable = true;
              createLocally = true;
            };
          })).systemd.services.viva;
      in
      service.after == [ "network.target" ] && service.requires == [ ] && service.wants == [ ];

    "a local database lets the user viva in as itself" =
      { evaluated, ... }:
      let
        config = evaluated (viva {
          postgres = {
            enable = true;
            createLocally = true;
          };
        });
        user = lib.head config.services.postgresql.ensureUsers;
      in
      config.services.postgresql.enable
      && config.services.postgresql.ensureDatabases == [ "viva" ]
      && user.name == "viva"
      && user.ensureDBOwnership;

    "three instances have three journals, ports and copies" =
      { evaluated, ... }:
      let
        config = evaluated (viva {
          instances = 3;
          http.address = "::";
          openFirewall.http = true;
          litestream = {
            enable = true;
            replica.url = "s3://backup/viva";
          };
        });
        copies = builtins.readFile config.environment.etc."viva/litestream.yml".source;
      in
      config.systemd.services."viva@3".environment.VIVA_HTTP__LISTEN == "[::]:8789"
      && config.systemd.services."viva@3".serviceConfig.StateDirectory == "viva-3"
      &&
        config.networking.firewall.allowedTCPPorts == [
          8787
          8788
          8789
        ]
      && lib.hasInfix "s3://backup/viva-3" copies
      && lib.hasInfix "/var/lib/viva-3/journal.sqlite3" copies;

    "no port is open unless it is asked for" =
      { evaluated, ... }:
      let
        firewall = (evaluated (viva { })).networking.firewall;
      in
      firewall.allowedTCPPorts == [ ] && firewall.allowedUDPPorts == [ ];

    "monitoring scrapes every instance and brings its rules" =
      { evaluated, ... }:
      let
        prometheus =
          (evaluated (viva {
            instances = 2;
            monitoring.enable = true;
          })).services.prometheus;
        targets = lib.concatMap (
          job: lib.concatMap (static: static.targets) job.static_configs
        ) prometheus.scrapeConfigs;
      in
      targets == [
        "127.0.0.1:8787"
        "127.0.0.1:8788"
      ]
      && lib.length prometheus.ruleFiles == 1;
  };
}
