#!/usr/bin/env bash
# Finds a Chromium for the test of the page, or installs Debian's where this user may.
#   . scripts/chromium.sh        sets HARRIER_CHROMIUM of this shell, or says why it cannot
#   bash scripts/chromium.sh     prints the program

chromium_program() {
  local name
  for name in "${HARRIER_CHROMIUM:-}" chromium chromium-browser google-chrome; do
    [ -n "$name" ] && command -v "$name" 2>/dev/null && return
  done
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo 'there is no Chromium here, and only root of a Debian can install it' >&2
    return 1
  fi
  local log
  log="$(mktemp)" || return 1
  install() { DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y --no-install-recommends chromium; }
  # the lists of packages may be missing, or older than what the mirror still has
  if ! { install || { timeout 120 apt-get -qq update && install; }; } >"$log" 2>&1; then
    echo "Chromium cannot be installed: $(tail -n 1 "$log")" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
  command -v chromium
}

chromium_use() {
  local program
  program="$(chromium_program)" || return 1
  export HARRIER_CHROMIUM="$program"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then chromium_program; else chromium_use; fi
