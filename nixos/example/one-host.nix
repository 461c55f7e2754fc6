# One machine that does everything: LiveKit, Viva with the speech engines on this machine, Prometheus.
# Put it into a flake of your own, with `viva.nixosModules.default` beside it.
{
  services.livekit = {
    enable = true;
    # One line, `API_KEY: API_SECRET`, made with `livekit-server generate-keys`; readable by root alone.
    keyFile = "/var/lib/secrets/livekit";
    openFirewall = true;
  };

  services.viva = {
    enable = true;
    livekit.keyFile = "/var/lib/secrets/livekit";
    settings.interviews.capacity = 4;
    plans.default = ../../plans/default.toml;
    monitoring.enable = true;
  };

  services.prometheus.enable = true;
}
