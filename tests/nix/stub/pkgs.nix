# Packages as names, and builders that keep what they were given. Nothing here is ever built: what is looked at is
# whether everything that the flake asks for exists. names.md says where nixpkgs has each name.
{
  lib,
  system,
  others ? [ ],
  nixosSystem ? null,
}:

let
  hostPlatform = lib.systems.elaborate system;

  # Something that has a store path.
  named =
    name: attributes:
    let
      self =
        derivation {
          inherit system;
          name = lib.strings.sanitizeDerivationName name;
          builder = "/bin/sh";
          # What goes into a build is evaluated, so that a name which does not exist is found.
          given = builtins.toJSON (printable (attributes.given or { }));
        }
        // {
          pname = name;
          version = "0";
          meta.mainProgram = name;
          passthru = { };
          override = _: self;
          overrideAttrs = _: self;
        }
        // attributes
        // attributes.passthru or { };
    in
    self;

  printable =
    value:
    if lib.isFunction value then
      "a function"
    else if lib.isDerivation value then
      "${value}"
    else if value ? _type && value._type == "fileset" then
      "a file set"
    else if lib.isAttrs value then
      if value ? outPath then "${value}" else lib.mapAttrs (_: printable) value
    else if lib.isList value then
      map printable value
    else
      value;

  builder =
    fallback: arguments:
    named (arguments.name or arguments.pname or fallback) (
      {
        given = removeAttrs arguments [
          "meta"
          "passthru"
        ];
        cargoDeps = named "cargo-vendor" { };
      }
      // lib.getAttrs (lib.filter (key: arguments ? ${key}) [
        "version"
        "src"
        "meta"
        "passthru"
      ]) arguments
    );

  text =
    name: content:
    builtins.toFile (lib.strings.sanitizeDerivationName name) (
      builtins.unsafeDiscardStringContext content
    );

  # A JSON scalar or list of scalars is one of TOML too; tables become sections.
  toml =
    path: table:
    let
      isSection =
        value: lib.isAttrs value || (lib.isList value && value != [ ] && lib.all lib.isAttrs value);
      line = key: value: "${key} = ${builtins.toJSON value}\n";
      section =
        key: value:
        let
          here = path ++ [ key ];
          name = lib.concatStringsSep "." here;
        in
        if lib.isList value then
          lib.concatMapStrings (entry: "\n[[${name}]]\n${toml here entry}") value
        else
          "\n[${name}]\n${toml here value}";
      isEmpty = value: lib.isAttrs value && lib.all isEmpty (lib.attrValues value);
      sections = lib.filterAttrs (_: value: isSection value && !isEmpty value) table;
      scalars = lib.filterAttrs (_: value: !isSection value) table;
    in
    lib.concatStrings (lib.mapAttrsToList line scalars ++ lib.mapAttrsToList section sections);

  format = extension: _: {
    type =
      let
        value =
          with lib.types;
          nullOr (oneOf [
            bool
            int
            float
            str
            path
            (attrsOf value)
            (listOf value)
          ])
          // {
            description = "${extension} value";
          };
      in
      value;
    generate =
      name: value:
      text name ((if extension == "toml" then toml [ ] else builtins.toJSON) (printable value));
  };

  packages = lib.genAttrs [
    "bash"
    "cacert"
    "cargo"
    "clippy"
    "cmake"
    "coreutils"
    "coturn"
    "espeak-ng"
    "findutils"
    "gnugrep"
    "gnused"
    "iproute2"
    "litestream"
    "livekit"
    "llama-cpp"
    "nftables"
    "nixfmt-tree"
    "onnxruntime"
    "openssl"
    "pkg-config"
    "postgresql"
    "prometheus"
    "python3"
    "rustc"
    "rustfmt"
    "sqlite"
    "systemd"
    "unzip"
    "util-linux"
    "autoPatchelfHook"
  ] (name: named name { });
in
lib.makeExtensible (
  pkgs:
  lib.genAttrs others (name: named name { })
  // packages
  // {
    inherit lib;
    _type = "pkgs";
    stdenv = lib.filterAttrs (name: _: lib.hasPrefix "is" name) hostPlatform // {
      inherit hostPlatform;
      buildPlatform = hostPlatform;
      cc.cc = named "gcc" { };
      mkDerivation = builder "derivation";
    };
    inherit (pkgs.stdenv) hostPlatform;
    system = hostPlatform.system;
    config = { };
    overlays = [ ];
    path = ./.;
    __splicedPackages = pkgs;
    appendOverlays = lib.foldl (set: set.extend) pkgs;

    callPackage = lib.callPackageWith pkgs;
    callPackages = lib.callPackagesWith pkgs;
    newScope = extra: lib.callPackageWith (pkgs // extra);

    runCommand =
      name: arguments: script:
      builder name ({ inherit name script; } // arguments);
    symlinkJoin = builder "joined";
    # Enough of a kernel for a machine's assertions.
    linuxPackages = lib.makeExtensible (_: {
      kernel = named "linux" {
        version = "6.12";
        kernelAtLeast = _: true;
        features = { };
        config = {
          isSet = _: true;
          isEnabled = _: true;
          isYes = _: true;
          isNo = _: false;
        };
      };
    });
    linkFarm = name: entries: builder name { inherit name entries; };
    inherit pkgs;
    writeText = text;
    writeShellApplication =
      arguments:
      builder arguments.name (
        arguments
        // {
          passthru = { inherit (arguments) text; };
          meta.mainProgram = arguments.name;
        }
      );
    writeShellScriptBin = name: content: builder name { inherit name content; };
    writeTextFile = builder "text";
    buildNpmPackage = builder "npm-package";
    importNpmLock = {
      __functor = _: builder "npm-dependencies";
      npmConfigHook = named "npm-config-hook" { };
    };
    mkShell = arguments: builder "shell" ({ name = "shell"; } // arguments);
    fetchPypi = arguments: builder "wheel" (arguments // { name = "${arguments.pname}-wheel"; });
    rustPlatform = {
      buildRustPackage = builder "rust";
      cargoSetupHook = named "cargo-setup-hook" { };
    };
    prometheus = packages.prometheus // {
      cli = named "prometheus-cli" { };
    };
    python3 = packages.python3 // {
      pkgs =
        lib.genAttrs [
          "aiofiles"
          "livekit-api"
          "numpy"
          "pip"
          "protobuf"
          "types-protobuf"
        ] (name: named name { })
        // {
          buildPythonPackage = builder "python-package";
        };
      withPackages =
        choose:
        builder "python" {
          name = "python-with";
          packages = choose pkgs.python3.pkgs;
        };
    };
    dockerTools = {
      buildLayeredImage = builder "image";
      caCertificates = named "certificates" { };
    };

    testers.runNixOSTest = import ./run-nixos-test.nix { inherit lib named nixosSystem; };

    formats = lib.genAttrs [
      "configobj"
      "elixirConf"
      "gitIni"
      "hocon"
      "ini"
      "iniWithGlobalSection"
      "javaProperties"
      "json"
      "keyValue"
      "libconfig"
      "lua"
      "nixConf"
      "php"
      "pythonVars"
      "systemd"
      "toml"
      "xml"
      "yaml"
      "yaml_1_1"
      "yaml_1_2"
    ] format;
  }
)
