export VIVA_CONFIG="${VIVA_CONFIG:-/etc/viva/viva.toml}"
if [ "$(id --user)" != 0 ]; then
  exec /nix/store/viva/bin/viva "$@"
fi
if [ "${1:-}" = check ]; then
  exec systemd-run --quiet --collect --pipe --wait '--service-type=exec' '--uid=viva' '--gid=viva' '--property=PrivateTmp=yes' '--property=LoadCredential=livekit-keys:/run/keys/livekit' '--property=LoadCredential=llm-key:/run/keys/provider' '--property=LoadCredential=stt-key:/run/keys/provider' '--property=LoadCredential=tts-key:/run/keys/provider' '--setenv=VIVA_HTTP__LISTEN=127.0.0.1:0' '--setenv=VIVA_STATE_DIRECTORY=/tmp/viva' '--setenv=VIVA_CONFIG' -- /nix/store/viva/bin/viva "$@"
fi
# What root would create in the state directory, the service could not open.
exec setpriv --reuid=viva --regid=viva --init-groups --no-new-privs -- /nix/store/viva/bin/viva "$@"
