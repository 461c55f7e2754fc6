# One of several appliances that serve the same LiveKit and share a PostgreSQL elsewhere. They differ in their host names, and by
# these in where their copies go; LiveKit gives each interview to the one that has more room.
{ config, ... }:

{
  services.viva = {
    enable = true;
    # 100 interviews on eight cores: two processes, a journal each.
    instances = 2;
    settings.interviews.capacity = 50;

    livekit = {
      url = "wss://livekit.example.org";
      keyFile = "/var/lib/secrets/livekit";
    };

    providers = {
      stt = {
        baseUrl = "https://speech.example.org/v1";
        keyFile = "/var/lib/secrets/speech";
      };
      tts = {
        baseUrl = "https://speech.example.org/v1";
        keyFile = "/var/lib/secrets/speech";
      };
      llm = {
        baseUrl = "https://llm.example.org/v1";
        keyFile = "/var/lib/secrets/llm";
      };
    };

    postgres = {
      enable = true;
      url = "postgresql://viva@db.example.org/viva?sslmode=verify-full";
      passwordFile = "/var/lib/secrets/postgres";
    };

    litestream = {
      enable = true;
      replica.url = "s3://backup.example.org/${config.networking.hostName}";
      credentials.aws = "/var/lib/secrets/s3";
    };

    # Prometheus is on another machine, and asks through the firewall.
    http.address = "0.0.0.0";
    openFirewall.http = true;
  };
}
