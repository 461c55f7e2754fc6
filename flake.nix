{
  description = "Viva conducts technical voice interviews in LiveKit rooms, on your own premises";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem =
        perSystem:
        lib.genAttrs systems (
          system: perSystem (nixpkgs.legacyPackages.${system}.extend self.overlays.default)
        );
    in
    {
      overlays.default = final: _prev: {
        viva = final.callPackage ./nixos/package.nix { };
        viva-models = final.callPackage ./models { };
        viva-models-prepared = final.callPackage ./nixos/prepared-models.nix { };
      };

      packages = eachSystem (pkgs: {
        default = pkgs.viva;
        inherit (pkgs) viva;
        models = pkgs.viva-models-prepared;
        oci = pkgs.callPackage ./nixos/oci.nix { };
      });

      apps = eachSystem (pkgs: {
        default = {
          type = "app";
          program = lib.getExe (pkgs.callPackage ./nixos/demo.nix { });
          meta.description = "Hold one interview on this machine with a simulated candidate";
        };
      });

      # The packages are those of this flake and its lock, whatever nixpkgs the machine itself is built from.
      nixosModules.default =
        { lib, pkgs, ... }:
        {
          imports = [ ./nixos/module.nix ];
          services.viva = {
            package = lib.mkDefault self.packages.${pkgs.stdenv.hostPlatform.system}.viva;
            models = lib.mkDefault self.packages.${pkgs.stdenv.hostPlatform.system}.models;
          };
        };

      checks = eachSystem (
        pkgs:
        pkgs.callPackages ./nixos/checks.nix {
          inherit (lib) nixosSystem;
          module = self.nixosModules.default;
        }
      );

      # Need KVM, so they are no checks yet. After a first green run on a host that has it, merge this set into `checks`:
      # add `// self.legacyPackages.${pkgs.stdenv.hostPlatform.system}.vmTests` to the value above.
      legacyPackages = eachSystem (pkgs: {
        vmTests = pkgs.callPackages ./nixos/tests { module = self.nixosModules.default; };
      });

      devShells = eachSystem (pkgs: {
        default = pkgs.callPackage ./nixos/shell.nix { };
      });

      formatter = eachSystem (pkgs: pkgs.nixfmt-tree);
    };
}
