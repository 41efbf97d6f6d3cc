#!/usr/bin/env bash
# ansible-test wants the path …/ansible_collections/selfhosted/bitwarden and reads every file below it:
# so it gets a copy of what git knows, under .cache, with a home of its own.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
home=$root/.cache/sanity
tree=$home/ansible_collections/selfhosted/bitwarden

rm -rf "$home/ansible_collections"
mkdir -p "$tree" "$home/.ansible/test/cache"
cd "$root"
git ls-files -z --cached --others --exclude-standard \
  | while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done \
  | tar --null --files-from=- -cf - | tar -xf - -C "$tree"

# ansible-test downloads pip's installer by version; the interpreter's own pip does as well and needs no network.
internal=$(python -c 'import importlib.util as u; print(u.find_spec("ansible_test").submodule_search_locations[0])')/_internal
versions=$(grep -rhoE "pip=['\"][0-9.]+" "$internal" | grep -oE '[0-9.]+' | sort -u)
if [ -z "$versions" ]; then
  echo "No version of pip was found in $internal: this ansible-core names it in another way than tests/tools/sanity.sh knows." >&2
  exit 1
fi
for version in $versions; do
  cp tests/tools/get_pip.py "$home/.ansible/test/cache/get_pip_${version//./_}.py"
done

cd "$tree"
# A repository of its own, else ansible-test asks the one around it, which ignores .cache.
git init --quiet
git add --all
HOME=$home exec ansible-test sanity --local --color no --python "$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" "$@"
