#!/bin/sh
# Bundles the editor into one static file, in a folder outside the repository. Needs Node and a registry.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/*.js "$here"/package.json "$work"
cd "$work"
npm install --silent --no-audit --no-fund
npx esbuild editor.js --bundle --minify --format=esm --target=es2022 --legal-comments=none \
  "--banner:js=/* CodeMirror 6 and Lezer, (c) Marijn Haverbeke and others, MIT: see editor.LICENSE.txt. Built by make editor. */" \
  --outfile="$here/../static/editor.js"
{
  echo "editor.js holds these packages and our service/web/editor, bundled by esbuild."
  find node_modules -maxdepth 3 -name LICENSE -path '*@codemirror*' -o -maxdepth 3 -name LICENSE -path '*@lezer*' \
    -o -maxdepth 2 -name LICENSE -path '*style-mod*' -o -maxdepth 2 -name LICENSE -path '*w3c-keyname*' \
    -o -maxdepth 2 -name LICENSE -path '*crelt*' -o -maxdepth 3 -name LICENSE -path '*@marijn*' | sort | while read -r file; do
    printf '\n%s\n\n' "$(dirname "$file" | sed 's#node_modules/##')"
    cat "$file"
  done
} > "$here/../static/editor.LICENSE.txt"
wc -c "$here/../static/editor.js"
