# The alerts and the dashboard, in the Prometheus and the Grafana of this machine.
{ config, lib, ... }:

let
  cfg = config.services.viva;
  instances = import ./instances.nix { inherit lib cfg; };
  listensEverywhere = lib.elem cfg.http.address [
    "0.0.0.0"
    "::"
  ];
  target =
    port: lib.removeSuffix ":${toString cfg.http.port}" cfg.settings.http.listen + ":${toString port}";
in
{
  config = lib.mkIf (cfg.enable && cfg.monitoring.enable) {
    services.prometheus = {
      ruleFiles = [ ../monitoring/alerts.yml ];
      scrapeConfigs = [
        {
          job_name = "viva";
          scrape_interval = "15s";
          static_configs = [
            {
              targets = map (
                { port, ... }: if listensEverywhere then "localhost:${toString port}" else target port
              ) instances;
            }
          ];
        }
      ];
    };

    services.grafana.provision = {
      enable = lib.mkIf config.services.grafana.enable true;
      dashboards.settings.providers = [
        {
          name = "Viva";
          options.path = ../monitoring/dashboards;
        }
      ];
    };
  };
}
