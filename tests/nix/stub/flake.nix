# Stands in for nixpkgs where there is none: its real `lib` and `nixos`, and packages that are names.
{
  outputs =
    _:
    let
      lib = import ./lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];

      # What NixOS' own modules ask for, so that a whole machine can be looked at; the project's flake gets none of it.
      others = lib.importJSON ./others.json;

      nixosSystem =
        { modules, ... }:
        import ./nixos/lib/eval-config.nix {
          inherit lib;
          system = null;
          modules = modules ++ [
            ./missing-options.nix
            (
              { lib, ... }:
              {
                nixpkgs.pkgs = lib.mkForce (
                  import ./pkgs.nix {
                    inherit lib others;
                    system = "x86_64-linux";
                  }
                );
              }
            )
          ];
        };
    in
    {
      lib = lib // {
        inherit nixosSystem;
      };
      legacyPackages = lib.genAttrs systems (
        system:
        import ./pkgs.nix {
          inherit lib nixosSystem system;
        }
      );
    };
}
