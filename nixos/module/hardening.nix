# What the services of Viva may not do, whose own directories have these names. Each line was seen to work with the real
# program under systemd 257.
{ directories }:

{
  # Nobody's privileges, and no way to get any.
  NoNewPrivileges = true;
  CapabilityBoundingSet = "";
  AmbientCapabilities = "";
  RestrictSUIDSGID = true;
  PrivateUsers = true;
  UMask = "0077";

  # The disk is read-only but for the state, and nothing that can be written can be run.
  ProtectSystem = "strict";
  ProtectHome = true;
  PrivateTmp = true;
  PrivateMounts = true;
  NoExecPaths = [
    "/var"
    "/run"
    "/tmp"
    "/dev/shm"
  ]
  # A service's own directories are mounts of their own, which the lines above do not reach.
  ++ map (name: "/var/lib/${name}") directories;

  # The machine is not there to be looked at or changed. All of /proc stays readable but for other processes: the load
  # that LiveKit is told comes from /proc/stat.
  PrivateDevices = true;
  DevicePolicy = "closed";
  ProtectClock = true;
  ProtectControlGroups = true;
  ProtectHostname = true;
  ProtectKernelLogs = true;
  ProtectKernelModules = true;
  ProtectKernelTunables = true;
  ProtectProc = "invisible";

  # No code is made at run time, no namespace entered, no realtime priority taken.
  MemoryDenyWriteExecute = true;
  LockPersonality = true;
  RestrictNamespaces = true;
  RestrictRealtime = true;
  RemoveIPC = true;
  KeyringMode = "private";
  SystemCallArchitectures = "native";
  SystemCallErrorNumber = "EPERM";
}
