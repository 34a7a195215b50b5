#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Receives one signed webhook as a CGI program (RFC 3875: headers in HTTP_..., the body on stdin), for any server that runs such:
# lighttpd, busybox httpd, Apache. Needs bash, openssl and od. WEBHOOK_SECRET=whsec_... in its environment.
# HMAC by hand, so that the key stands on no command line, where `ps` would show it.
set -euo pipefail
body=$(mktemp) && trap 'rm -f "$body"' EXIT

refuse() { printf 'Status: 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n%s\n' "$1"; exit 0; }
bytes() { od -An -v -tu1 | tr -s ' \n' ' '; }                           # as decimal numbers
write() { local b; for b in "$@"; do printf "\\x$(printf %x "$b")"; done; }
pad() { local b; for b in "${key[@]}"; do printf '%d ' $((b ^ $1)); done; }

head -c "${CONTENT_LENGTH:-0}" > "$body"                                      # the bytes as they came: the signature is over them
id=${HTTP_WEBHOOK_ID:-} time=${HTTP_WEBHOOK_TIMESTAMP:-} now=$(date +%s)
[[ -n $id && $time =~ ^[1-9][0-9]{0,11}$ ]] || refuse "webhook-id or webhook-timestamp is missing or malformed"
(( time >= now - 300 && time <= now + 300 )) || refuse "the timestamp is too old, or in the future"

read -ra key <<< "$(printf %s "${WEBHOOK_SECRET#whsec_}" | openssl base64 -d -A | bytes)"
(( ${#key[@]} >= 24 && ${#key[@]} <= 64 )) || { echo "WEBHOOK_SECRET is none" >&2; exit 1; }
while (( ${#key[@]} < 64 )); do key+=(0); done
inner=$({ write $(pad 54); printf '%s.%s.' "$id" "$time"; cat "$body"; } | openssl dgst -sha256 -binary | bytes)
mine=$({ write $(pad 92); write $inner; } | openssl dgst -sha256 -binary | openssl base64 -A)

for one in ${HTTP_WEBHOOK_SIGNATURE:-}; do                              # one for each of the sender's keys
    [[ $one == "v1,$mine" ]] || continue
    echo "$id" >&2                                                      # here begins your work; an event may come twice, with the same id
    printf 'Status: 204 No Content\r\n\r\n'
    exit 0
done
refuse "no signature matches"
