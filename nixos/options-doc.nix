# The page docs/nixos-options.md, from the module's own descriptions.
{ lib, options }:

let
  # Options that only NixOS' own manual could link to.
  plain =
    text:
    let
      parts = builtins.split "\\[]\\(#opt-([^)]*)\\)" text;
    in
    lib.concatMapStrings (part: if lib.isList part then "`${lib.head part}`" else part) parts;

  literal =
    value:
    if value._type or "" == "literalMD" then
      plain value.text
    else
      let
        text = lib.removeSuffix "\n" value.text;
      in
      if lib.hasInfix "\n" text then "\n\n```nix\n${text}\n```" else "`${text}`";

  entry =
    option:
    "## `${option.name}`\n\n"
    + lib.trim (plain option.description)
    + "\n\n"
    + "Type: ${option.type}\n"
    + lib.optionalString (option ? default) "\nDefault: ${literal option.default}\n"
    + lib.optionalString (option ? example) "\nExample: ${literal option.example}\n";

  shown = lib.filter (option: option.visible && !option.internal) (
    lib.optionAttrSetToDocList options.services.viva
  );
in
''
  # Options of `services.viva`

  Generated from `nixos/module/` by `tests/nix/run --update`. How they are used is in [operations.md](operations.md).

''
+ lib.concatMapStringsSep "\n" entry shown
