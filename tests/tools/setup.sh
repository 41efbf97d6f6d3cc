#!/usr/bin/env bash
# Makes the virtual environment: setup.sh PYTHON FOLDER [npm]; with npm also what the tests with the real client need.
set -euo pipefail

python=$1
venv=$2

# Debian splits venv and npm off; as root they are installed, else the missing package is named.
need() {
  local package=$1
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; } >&2
  else
    echo "Please install Debian's package $package, then try again." >&2
    exit 1
  fi
}

command -v "$python" >/dev/null || need python3
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Python 3.11 or newer is needed, $python is $("$python" --version). Name another one: make PYTHON=python3.12 …" >&2
  exit 1
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
if [ "${3:-}" = npm ]; then
  command -v npm >/dev/null || need npm
  exit
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
requirements=()
for file in tests/requirements/*.txt; do
  requirements+=(-r "$file")
done
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${requirements[@]}"
