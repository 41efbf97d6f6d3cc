#!/usr/bin/env bash
# Coverage of the plugins with branches. Modules run in processes of their own: coverage starts in each by a .pth file.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo 'import coverage; coverage.process_startup()' >"$site/selfhosted_coverage.pth"
trap 'rm -f "$site/selfhosted_coverage.pth"' EXIT
rm -f .cache/coverage/.coverage*
mkdir -p .cache/coverage
export COVERAGE_PROCESS_START=$root/tests/tools/coveragerc COVERAGE_ROOT=$root
least=0
# Of a part of the tests no more is wanted than that it is told.
[ $# -gt 0 ] || { set -- tests/integration tests; least=95; }
status=0
python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not long and not docker" "$@" || status=$?
# What was measured is told also where a test failed.
coverage combine --rcfile=tests/tools/coveragerc --quiet
coverage report --rcfile=tests/tools/coveragerc --fail-under="$least"
exit "$status"
