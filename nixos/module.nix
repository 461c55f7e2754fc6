# `services.viva`: Viva as a service of a NixOS machine. `nixosModules.default` adds the packages to it.
{
  imports = [
    ./module/options.nix
    ./module/checks.nix
    ./module/files.nix
    ./module/service.nix
    ./module/litestream.nix
    ./module/postgres.nix
    ./module/monitoring.nix
    ./module/command.nix
  ];
}
