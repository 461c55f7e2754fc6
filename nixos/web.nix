# LiveKit's browser client, for the page of `viva demo`: what `npm ci` would put into web/node_modules.
{
  lib,
  buildNpmPackage,
  importNpmLock,
}:

let
  manifest = lib.importJSON ../web/package.json;
in
buildNpmPackage {
  pname = manifest.name;
  inherit ((lib.importTOML ../Cargo.toml).package) version;

  src = lib.fileset.toSource {
    root = ../web;
    fileset = lib.fileset.unions [
      ../web/package.json
      ../web/package-lock.json
    ];
  };

  # Each package by the hash in the lock file.
  npmDeps = importNpmLock { npmRoot = ../web; };
  npmConfigHook = importNpmLock.npmConfigHook;

  # They come ready-made; nothing of ours is built from them.
  dontNpmBuild = true;

  installPhase = ''
    runHook preInstall
    mkdir "$out"
    cp --recursive node_modules "$out"
    runHook postInstall
  '';
}
