# A machine with a candidate on LiveKit's official client, who answers with a recording: `candidate ROOM ANSWERS`.
{ pythonClient, recordings }:

{ pkgs, ... }:
{
  virtualisation.memorySize = 2048;

  environment.systemPackages = [
    (pkgs.writeShellApplication {
      name = "candidate";
      runtimeEnv = {
        LIVEKIT_URL = "ws://appliance:7880";
        LIVEKIT_API_KEY = "devkey";
        LIVEKIT_API_SECRET = "a-secret-of-thirty-two-characters";
      };
      text = ''
        exec ${pythonClient}/bin/python3 ${../../tests/python/candidate.py} \
          --room "$1" --answers "$2" --wav ${recordings}/recordings/two_cities.wav --seconds 3.1 --limit 120
      '';
    })
  ];
}
