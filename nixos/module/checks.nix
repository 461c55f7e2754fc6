# Mistakes that are known before anything is built.
{ config, lib, ... }:

let
  cfg = config.services.viva;
  has = path: lib.hasAttrByPath path cfg.settings;
  isLoopback = lib.elem cfg.http.address [
    "127.0.0.1"
    "::1"
    "localhost"
  ];
in
{
  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.settings.interviews.capacity <= 50;
        message = ''
          services.viva.settings.interviews.capacity is ${toString cfg.settings.interviews.capacity}: one process holds at
          most 50 interviews. Lower it, and raise services.viva.instances.
        '';
      }
      {
        assertion = cfg.plans == { } || cfg.plans ? ${cfg.settings.interviews.default_plan};
        message = ''
          services.viva.plans has no "${cfg.settings.interviews.default_plan}", which
          services.viva.settings.interviews.default_plan names. Add it, or name another.
        '';
      }
      {
        assertion =
          !has [
            "livekit"
            "key_file"
          ];
        message = "services.viva.settings.livekit.key_file: the service reads no secret but its credentials. Use services.viva.livekit.keyFile.";
      }
      {
        assertion =
          !has [
            "http"
            "operator_key_file"
          ];
        message = "services.viva.settings.http.operator_key_file: the service reads no secret but its credentials. Use services.viva.http.operatorKeyFile.";
      }
      {
        assertion = cfg.postgres.enable -> cfg.postgres.url != null;
        message = "services.viva.postgres.enable needs services.viva.postgres.url or services.viva.postgres.createLocally.";
      }
      {
        assertion = cfg.postgres.createLocally -> cfg.postgres.enable;
        message = "services.viva.postgres.createLocally does nothing without services.viva.postgres.enable.";
      }
      {
        assertion = cfg.webhook.url != null -> cfg.webhook.secretFile != null;
        message = "services.viva.webhook.url needs services.viva.webhook.secretFile: a receiver has to know who posts.";
      }
      {
        assertion = cfg.litestream.enable -> cfg.litestream.replica != { };
        message = "services.viva.litestream.enable needs services.viva.litestream.replica: where the copy goes.";
      }
      {
        assertion =
          cfg.litestream.enable && cfg.instances > 1
          -> cfg.litestream.replica ? url || cfg.litestream.replica ? path;
        message = "services.viva.litestream.replica needs a url or a path, so that each instance gets a place of its own.";
      }
      {
        assertion = cfg.openFirewall.media -> config.services.livekit.enable;
        message = ''
          services.viva.openFirewall.media opens the ports of services.livekit, which is not enabled on this machine. Viva
          itself needs none: its sound goes out to LiveKit.
        '';
      }
      {
        assertion = cfg.http.port + cfg.instances - 1 <= 65535;
        message = "services.viva.http.port: the ports of ${toString cfg.instances} instances end beyond 65535. Begin lower.";
      }
    ]
    ++ lib.mapAttrsToList (name: _: {
      assertion =
        !has [
          name
          "api_key_file"
        ];
      message = "services.viva.settings.${name}.api_key_file: the service reads no secret but its credentials. Use services.viva.providers.${name}.keyFile.";
    }) cfg.providers;

    warnings = lib.optional (cfg.openFirewall.http && isLoopback) ''
      services.viva.openFirewall.http opens a port that nothing listens on from outside: services.viva.http.address is
      ${cfg.http.address}.
    '';
  };
}
