#!/usr/bin/env bash
# Puts SwiftShader, a Vulkan driver in software, into a folder, so that models run on WebGPU without a GPU. Slow, for tests.
#   . scripts/swiftshader.sh          sets VK_ICD_FILENAMES and LD_LIBRARY_PATH of this shell, or says why it cannot
#   bash scripts/swiftshader.sh       prints the folder
# Debian: the files are taken out of the package chromium-common, which is downloaded (30 MB) and not installed.

swiftshader_files='libvk_swiftshader.so libvulkan.so.1 vk_swiftshader_icd.json'

swiftshader_has() {
  local file
  for file in $swiftshader_files; do [ -s "$1/$file" ] || return 1; done
}

# Prints the folder of the files. Fails with the reason on stderr.
swiftshader_folder() {
  local folder
  for folder in /usr/lib/chromium "${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/harrier/swiftshader"; do
    if swiftshader_has "$folder"; then
      echo "$folder"
      return
    fi
  done
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo 'SwiftShader comes from a package of Debian, and this machine has no apt-get' >&2
    return 1
  fi
  local work
  work="$(mktemp -d)" || return 1
  if ! (
    cd "$work" || exit
    fetch() { timeout 240 apt-get -qq download chromium-common; }
    # the lists of packages may be missing, or older than what the mirror still has
    fetch || { [ "$(id -u)" = 0 ] && timeout 120 apt-get -qq update && fetch; } || exit
    for file in $swiftshader_files; do dpkg-deb --fsys-tarfile chromium-common_*.deb | tar -x "./usr/lib/chromium/$file" || exit; done
  ) >"$work/log" 2>&1; then
    echo "SwiftShader cannot be taken from the package chromium-common: $(tail -n 1 "$work/log")" >&2
    rm -rf "$work"
    return 1
  fi
  mkdir -p "$folder" && cp "$work"/usr/lib/chromium/* "$folder/"
  rm -rf "$work"
  swiftshader_has "$folder" && echo "$folder"
}

swiftshader_use() {
  local folder
  folder="$(swiftshader_folder)" || return 1
  export VK_ICD_FILENAMES="$folder/vk_swiftshader_icd.json" LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then swiftshader_folder; else swiftshader_use; fi
