# Options of nixpkgs that the copy at hand is too old for, with their types; and parts of a general machine turned off that
# ask packages for more than a name.
{ lib, ... }:

let
  inherit (lib) mkOption types;
in
{
  options.services =
    lib.optionalAttrs (!lib.pathExists ./nixos/modules/services/networking/livekit.nix)
      {
        livekit = {
          enable = lib.mkEnableOption "LiveKit";
          keyFile = mkOption { type = types.path; };
          openFirewall = mkOption {
            type = types.bool;
            default = false;
          };
          settings = mkOption {
            type = types.attrs;
            default = { };
          };
        };
      };

  config = {
    environment.stub-ld.enable = lib.mkForce false;
  };
}
