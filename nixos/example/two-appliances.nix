# Two appliances that serve the same LiveKit and share a PostgreSQL elsewhere. In the flake that makes the machines:
#
#   nixosConfigurations = lib.mapAttrs (
#     _: machine: lib.nixosSystem { modules = [ viva.nixosModules.default machine ]; }
#   ) (import ./two-appliances.nix);
let
  appliance = name: {
    imports = [ ./appliance.nix ];
    networking.hostName = name;
  };
in
{
  viva-a = appliance "viva-a";
  viva-b = appliance "viva-b";
}
