# The processes of a machine, as a list: the first is `viva`, so that a machine that grows keeps its first journal.
{ lib, cfg }:

let
  number =
    n:
    if n == 1 then
      {
        unit = "viva";
        directory = "viva";
      }
    else
      {
        unit = "viva@${toString n}";
        directory = "viva-${toString n}";
      };
in
map (
  n:
  number n
  // {
    inherit n;
    port = cfg.http.port + n - 1;
  }
) (lib.range 1 cfg.instances)
