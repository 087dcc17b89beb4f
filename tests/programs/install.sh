#!/bin/sh
# Programs of the system that tests drive: root gets what is missing from Debian's packages; in CI nothing may be missing.
PATH="$PATH:/usr/sbin:/usr/local/sbin"

missing() {
  found=""
  for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && found=yes
  done
  [ -n "$found" ] || printf ' chromium'
  for name in nginx pgbouncer openssl; do
    command -v "$name" >/dev/null 2>&1 || printf ' %s' "$name"
  done
  # the package has more, none of which is started
  command -v promtool >/dev/null 2>&1 || printf ' prometheus'
}

install() {
  # RUNLEVEL: nothing is started, tests start their own
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "$@" >/dev/null 2>&1
}

wanted=$(missing)
[ -n "$wanted" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  # shellcheck disable=SC2086
  install $wanted || { apt-get update --quiet >/dev/null 2>&1 && install $wanted; }
  wanted=$(missing)
  [ -n "$wanted" ] || exit 0
fi
case "$CI" in
  "" | 0 | false | no)
    echo "Not installed:$wanted. Tests that need them are skipped; apt-get install$wanted, or your system's packages of the same."
    ;;
  *)
    echo "Not installed:$wanted. In CI no test may be skipped: apt-get install$wanted, or your system's packages of the same." >&2
    exit 1
    ;;
esac
