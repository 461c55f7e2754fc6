# The models, and beside voice and turn model the form that loads fastest: `viva models prepare`.
{
  lib,
  runCommand,
  viva,
  viva-models,
}:

runCommand "viva-models-prepared" { } ''
  mkdir "$out"
  cp --recursive --symbolic-link ${viva-models}/. "$out"
  chmod --recursive u+w "$out"
  VIVA_MODELS__DIRECTORY="$out" ${lib.getExe viva} models prepare
''
