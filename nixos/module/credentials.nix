# The service's secrets, as `LoadCredential` takes them; Viva looks for them by these names.
{ lib, cfg }:

lib.mapAttrsToList (name: file: "${name}:${file}") (
  lib.filterAttrs (_: file: file != null) (
    {
      livekit-keys = cfg.livekit.keyFile;
      operator-key = cfg.http.operatorKeyFile;
      postgres-password = cfg.postgres.passwordFile;
      webhook-secret = cfg.webhook.secretFile;
    }
    // lib.mapAttrs' (what: provider: lib.nameValuePair "${what}-key" provider.keyFile) cfg.providers
  )
)
