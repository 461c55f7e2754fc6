# A machine with LiveKit and Viva, as in the example of one host.
{ module }:

{ instances }:
{
  imports = [ module ];

  virtualisation = {
    cores = 4;
    memorySize = 4096;
  };

  # A key for this test alone, where a secret of a real machine is not.
  environment.etc."livekit-key" = {
    text = "devkey: a-secret-of-thirty-two-characters";
    mode = "0400";
  };

  services.livekit = {
    enable = true;
    keyFile = "/etc/livekit-key";
    openFirewall = true;
  };

  services.viva = {
    enable = true;
    inherit instances;
    livekit.keyFile = "/etc/livekit-key";
    postgres = {
      enable = true;
      createLocally = true;
    };
    settings.interviews = {
      capacity = 4;
      default_plan = "demo";
    };
    plans.demo = ../../plans/demo.toml;
  };
}
