# A PostgreSQL on the same machine, where it is asked for. Viva does not wait for it.
{ config, lib, ... }:

let
  cfg = config.services.viva;
in
{
  config = lib.mkIf (cfg.enable && cfg.postgres.createLocally) {
    services.postgresql = {
      enable = true;
      ensureDatabases = [ "viva" ];
      ensureUsers = [
        {
          name = "viva";
          ensureDBOwnership = true;
        }
      ];
    };
  };
}
