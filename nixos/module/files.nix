# The settings file and the plans, under /etc so that a change of them changes no unit: the service reloads.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.viva;
  toml = pkgs.formats.toml { };

  settings = lib.filterAttrsRecursive (_: value: value != null) cfg.settings;

  # Read by the very program that will run, where this machine can run it: parsing needs no network, secret or model.
  checked =
    let
      unchecked = toml.generate "viva.toml" settings;
    in
    if pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform then
      pkgs.runCommand "viva.toml" { passthru = { inherit unchecked; }; } ''
        ${lib.getExe cfg.package} config check ${unchecked}
        cp ${unchecked} "$out"
      ''
    else
      unchecked;

  plan = name: content: {
    name = "${name}.toml";
    path =
      if lib.isAttrs content && !lib.isDerivation content then
        toml.generate "${name}.toml" content
      else
        content;
  };

  plans =
    if cfg.plans == { } then
      "${cfg.package}/share/viva/plans"
    else
      pkgs.linkFarm "viva-plans" (lib.mapAttrsToList plan cfg.plans);

  provider = what: {
    base_url = cfg.providers.${what}.baseUrl;
  };
in
{
  options.services.viva.files = lib.mkOption {
    type = lib.types.attrsOf lib.types.pathInStore;
    internal = true;
    readOnly = true;
    description = "What the service reads, and is reloaded for.";
  };

  config = lib.mkIf cfg.enable {
    services.viva = {
      settings = lib.mkMerge [
        {
          state_directory = "/var/lib/viva";
          http.listen =
            let
              address = if lib.hasInfix ":" cfg.http.address then "[${cfg.http.address}]" else cfg.http.address;
            in
            "${address}:${toString cfg.http.port}";
          livekit.url = cfg.livekit.url;
          interviews.plans_directory = "/etc/viva/plans";
          models.directory = "${cfg.models}";
          tts.espeak = lib.mkDefault (lib.getExe pkgs.espeak-ng);
        }
        (lib.mapAttrs (what: _: provider what) cfg.providers)
        (lib.mkIf cfg.postgres.enable {
          postgres = {
            enable = true;
            inherit (cfg.postgres) url;
          };
        })
        (lib.mkIf (cfg.webhook.url != null) { webhook.url = cfg.webhook.url; })
        (lib.mkIf cfg.litestream.enable { journal.litestream = true; })
      ];
      files = { inherit checked plans; };
    };

    environment.etc = {
      "viva/viva.toml".source = checked;
      "viva/plans".source = plans;
    };
  };
}
