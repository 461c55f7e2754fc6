# Everything that `services.viva` can be told.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;
  cfg = config.services.viva;
  toml = pkgs.formats.toml { };

  secret =
    description:
    mkOption {
      type = types.nullOr types.externalPath;
      default = null;
      example = "/run/keys/viva";
      description = ''
        ${description}

        The service gets it as a systemd credential when it starts, so the file needs to be readable by root alone, and a
        new key takes effect with `systemctl restart viva`.
      '';
    };

  provider = what: {
    baseUrl = mkOption {
      type = types.nullOr (types.strMatching "https?://.+");
      default = null;
      example = "https://speech.example.org/v1";
      description = "The root of the OpenAI-compatible server for ${what}.";
    };
    keyFile = secret "A file with the API key of the server for ${what}, and nothing else.";
  };
in
{
  options.services.viva = {
    enable = lib.mkEnableOption "Viva, which conducts technical voice interviews in LiveKit rooms";

    package = lib.mkPackageOption pkgs "viva" { };

    models = mkOption {
      type = types.package;
      default = pkgs.viva-models-prepared;
      defaultText = lib.literalExpression "pkgs.viva-models-prepared";
      description = "The model files: voice activity detection, and the speech engines that run on this machine.";
    };

    settings = mkOption {
      default = { };
      example = {
        voice.turn_end_ms = 700;
        log.filter = "viva=debug,info";
      };
      description = ''
        Viva's settings file, as it is documented in `src/config.rs`. It is checked while the system is built
        (`viva config check`), so a mistake fails `nixos-rebuild` and not the service.

        A change reloads the service and interrupts no interview. Viva names the settings in its log that take effect
        with the next restart only.
      '';
      type = types.submodule {
        freeformType = toml.type;
        options = {
          interviews = {
            capacity = mkOption {
              type = types.ints.positive;
              default = 20;
              description = ''
                Interviews that one process holds at the same time, at most 50. For more, raise
                [](#opt-services.viva.instances).
              '';
            };
            default_plan = mkOption {
              type = types.strMatching "[A-Za-z0-9_-]+";
              default = "default";
              description = "The plan of an interview whose job names none.";
            };
            room_prefix = mkOption {
              type = types.strMatching ".+";
              default = "interview-";
              description = "Rooms whose name is this prefix and an id are interviews; every other room is declined.";
            };
          };
          livekit.agent_name = mkOption {
            type = types.str;
            default = "";
            description = ''
              The name under which LiveKit dispatches jobs to Viva. Empty takes every room that begins with
              [](#opt-services.viva.settings.interviews.room_prefix).
            '';
          };
        };
      };
    };

    plans = mkOption {
      type = types.attrsOf (types.either types.path toml.type);
      default = { };
      example = lib.literalExpression ''
        {
          default = ./plans/backend.toml;
          short = {
            title = "A short one";
            time_minutes = 10;
            sections = [
              {
                title = "Start";
                questions = [ { id = "why"; text = "Why did you choose this field?"; } ];
              }
            ];
          };
        }
      '';
      description = ''
        The interview plans, by name: a TOML file each, or what such a file says. Without any there are those that come
        with the package. A change reloads the service.
      '';
    };

    livekit = {
      url = mkOption {
        type = types.strMatching "wss?://.+";
        default = "ws://127.0.0.1:7880";
        example = "wss://livekit.example.org";
        description = "The LiveKit server that interviews take place on.";
      };
      keyFile = mkOption {
        type = types.externalPath;
        example = "/run/keys/livekit";
        description = ''
          A file with one line `API_KEY: API_SECRET`, as LiveKit's own `services.livekit.keyFile`.

          The service gets it as a systemd credential when it starts, so the file needs to be readable by root alone, and a
          new key takes effect with `systemctl restart viva`.
        '';
      };
    };

    providers = {
      stt = provider "speech to text";
      tts = provider "text to speech";
      llm = provider "the language model";
    };

    http = {
      address = mkOption {
        type = types.str;
        default = "127.0.0.1";
        example = "::";
        description = ''
          The address that `/healthz`, `/readyz` and `/metrics` are served on. They ask nobody who they are; leave them on loopback or
          put a proxy before them.
        '';
      };
      port = mkOption {
        type = types.port;
        default = 8787;
        description = "The port of the first instance; each further one takes the next.";
      };
      operatorKeyFile = mkOption {
        type = types.nullOr types.externalPath;
        default = null;
        example = "/run/keys/viva-operator";
        description = ''
          A file with the key of who may drain the service on its page (`/`) or over HTTP (`POST /api/drain`): a line of at
          least 16 characters. Without one, `viva drain` on the machine is the only way. Put a proxy with TLS before the port
          where the key comes from elsewhere.

          The service gets it as a systemd credential when it starts, so the file needs to be readable by root alone and to be
          there at every start, and a new key takes effect with `systemctl restart viva`.
        '';
      };
    };

    instances = mkOption {
      type = types.ints.between 1 32;
      default = 1;
      description = ''
        Processes on this machine. The first is `viva.service`, the others are `viva@2.service` and so on, each with its
        own journal and port; LiveKit spreads the interviews over them.

        When this number becomes smaller, the journals of the processes that are no more stay in `/var/lib/viva-N`.
      '';
    };

    memory = {
      high = mkOption {
        type = types.str;
        default = "${toString (1024 + 16 * cfg.settings.interviews.capacity)}M";
        defaultText = lib.literalMD "1 GiB and 16 MiB for each interview";
        description = "Memory above which the kernel slows one instance down and takes back what it can.";
      };
      max = mkOption {
        type = types.str;
        default = "${toString (1536 + 24 * cfg.settings.interviews.capacity)}M";
        defaultText = lib.literalMD "1.5 GiB and 24 MiB for each interview";
        description = "Memory above which the kernel kills one instance, which then starts again.";
      };
    };

    openFirewall = {
      http = mkOption {
        type = types.bool;
        default = false;
        description = "Whether to let others reach the HTTP ports.";
      };
      media = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Whether to let others reach the ports of the LiveKit server on this machine (`services.livekit`). Viva's own
          sound goes out to LiveKit and needs no open port.
        '';
      };
    };

    postgres = {
      enable = lib.mkEnableOption ''
        copying interviews to PostgreSQL. Viva starts, works and stops without it, and catches up when it is there
      '';
      createLocally = mkOption {
        type = types.bool;
        default = false;
        description = "Whether to run PostgreSQL on this machine, with a database and a user `viva` that logs in as itself (peer).";
      };
      url = mkOption {
        type = types.nullOr (types.strMatching "postgres(ql)?://.+");
        default =
          if cfg.postgres.createLocally then
            "postgresql://viva@localhost/viva?host=/run/postgresql"
          else
            null;
        defaultText = lib.literalMD "the local socket with `createLocally`, else null";
        example = "postgresql://viva@db.example.org/viva?sslmode=verify-full";
        description = "The database, without a password: it would be in the Nix store.";
      };
      passwordFile = secret "A file with the password of the database's user, and nothing else.";
    };

    litestream = {
      enable = lib.mkEnableOption ''
        copying the journal elsewhere while it is written, with Litestream. Restoring is done by an operator
      '';
      package = lib.mkPackageOption pkgs "litestream" { };
      replica = mkOption {
        type = (pkgs.formats.yaml { }).type;
        default = { };
        example = {
          url = "s3://backup/viva";
          region = "eu-central-1";
        };
        description = ''
          Where to, as in Litestream's configuration file: `url`, or `type` and `path`. The host's name is not added; give
          each machine a place of its own. Further instances add `-2` and so on to `url` or `path`.

          Nothing secret belongs here, it is in the Nix store: use [](#opt-services.viva.litestream.credentials).
        '';
      };
      settings = mkOption {
        type = (pkgs.formats.yaml { }).type;
        default = { };
        example.snapshot.retention = "24h";
        description = "What else goes into Litestream's configuration file.";
      };
      credentials = mkOption {
        type = types.attrsOf types.externalPath;
        default = { };
        example.aws = "/run/keys/viva-s3";
        description = ''
          Files that Litestream gets as systemd credentials, by name. In the two options above,
          `''${CREDENTIALS_DIRECTORY}/NAME` is the path of one. The one called `aws` is taken as a credentials file in the
          form of the AWS command line.
        '';
      };
    };

    webhook = {
      url = mkOption {
        type = types.nullOr (types.strMatching "https?://.+");
        default = null;
        example = "https://platform.example.org/hooks/viva";
        description = "Where it is posted that an interview is over, until it is acknowledged; null tells nobody.";
      };
      secretFile = secret "A file with the secret that signs what is posted, and nothing else.";
    };

    monitoring.enable = lib.mkEnableOption ''
      Viva's scrape configuration and alert rules in the Prometheus of this machine, and its dashboard in the Grafana of
      this machine, where they are enabled
    '';
  };
}
