#!/usr/bin/env bash
# Makes the virtual environment: setup.sh PYTHON FOLDER [npm|docker]; with these also what the tests with the real client,
# or with a real Docker engine, need of Debian's packages.
set -euo pipefail

python=$1
venv=$2

# Debian splits venv and npm off; as root they are installed, else the missing package is named.
need() {
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >&2
  else
    echo "Please install these packages of Debian, then try again: $*" >&2
    exit 1
  fi
}

command -v "$python" >/dev/null || need python3
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Python 3.11 or newer is needed, $python is $("$python" --version). Name another one: make PYTHON=python3.12 …" >&2
  exit 1
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
case "${3:-}" in
  npm)
    command -v npm >/dev/null || need npm
    exit
    ;;
  docker)
    # dpkg knows of programs outside PATH too, and installing what is there does nothing.
    packages=(docker.io iptables nftables iproute2 procps mmdebstrap dnsmasq-base openssh-client)
    dpkg --status "${packages[@]}" >/dev/null 2>&1 || need "${packages[@]}"
    exit
    ;;
esac

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
requirements=()
for file in tests/requirements/*.txt; do
  requirements+=(-r "$file")
done
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${requirements[@]}"
