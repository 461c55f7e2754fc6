{
  description = "Viva conducts technical voice interviews in LiveKit rooms, on your own premises";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem =
        perSystem:
        nixpkgs.lib.genAttrs systems (
          system: perSystem (nixpkgs.legacyPackages.${system}.extend self.overlays.default)
        );
    in
    {
      overlays.default = final: _prev: {
        viva = final.callPackage ./nixos/package.nix { };
        viva-models = final.callPackage ./models { };
      };

      packages = eachSystem (pkgs: {
        default = pkgs.viva;
        inherit (pkgs) viva;
        models = pkgs.viva-models;
      });

      apps = eachSystem (pkgs: {
        default = {
          type = "app";
          program = nixpkgs.lib.getExe (pkgs.callPackage ./nixos/demo.nix { });
          meta.description = "Hold one interview on this machine with a simulated candidate";
        };
      });

      checks = eachSystem (pkgs: pkgs.callPackages ./nixos/checks.nix { });

      devShells = eachSystem (pkgs: {
        default = pkgs.callPackage ./nixos/shell.nix { };
      });

      formatter = eachSystem (pkgs: pkgs.nixfmt-tree);
    };
}
