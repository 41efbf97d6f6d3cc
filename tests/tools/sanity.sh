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
for version in 20_3_4 21_3_1 24_0 24_2 25_2 25_3 26_0; do
  cp tests/tools/get_pip.py "$home/.ansible/test/cache/get_pip_$version.py"
done

cd "$tree"
# A repository of its own, else ansible-test asks the one around it, which ignores .cache.
git init --quiet
git add --all
HOME=$home exec ansible-test sanity --local --color no --python "$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" "$@"
