#!/usr/bin/env bash
# Puts Triton's Python client, a client of the Open Inference Protocol that is not ours, into a virtual environment for the tests.
#   . scripts/triton-client.sh        sets HARRIER_TRITON_PYTHON of this shell, or says why it cannot
#   bash scripts/triton-client.sh     prints the Python of the environment

triton_client_version=2.73.0

triton_client_python() {
  local folder python
  folder="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/harrier/triton-client-$triton_client_version"
  python="$folder/bin/python"
  if ! { [ -x "$python" ] && "$python" -c 'import tritonclient.http' 2>/dev/null; }; then
    local log
    log="$(mktemp)" || return 1
    if ! { python3 -m venv "$folder" && timeout 240 "$python" -m pip install --quiet --disable-pip-version-check "tritonclient[http]==$triton_client_version"; } >"$log" 2>&1; then
      echo "Triton's client cannot be installed: $(tail -n 1 "$log")" >&2
      rm -f "$log"
      return 1
    fi
    rm -f "$log"
  fi
  echo "$python"
}

triton_client_use() {
  local python
  python="$(triton_client_python)" || return 1
  export HARRIER_TRITON_PYTHON="$python"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then triton_client_python; else triton_client_use; fi
