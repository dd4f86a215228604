#!/bin/sh
# Installs a built `teal` with its units, manual pages and completions; run again to upgrade. Running instances are not touched.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
binary=${1:-$here/../target/release/teal}
prefix=${PREFIX:-/usr/local}

[ "$(id -u)" = 0 ] || { echo "run this as root: it writes to $prefix, /etc/teal and /etc/systemd/system" >&2; exit 2; }
[ -x "$binary" ] || { echo "$binary is not there: run \`cargo build --release -p teal-cli\` first, or name the binary" >&2; exit 2; }

install -d -m 0755 "$prefix/bin" "$prefix/share/man/man1" /etc/teal /etc/systemd/system
# Written beside and renamed: the running one keeps its file.
install -m 0755 "$binary" "$prefix/bin/.teal.new"
mv -f "$prefix/bin/.teal.new" "$prefix/bin/teal"
"$prefix/bin/teal" man "$prefix/share/man/man1" > /dev/null
if [ -d /usr/share/bash-completion/completions ]; then
    "$prefix/bin/teal" completion bash > /usr/share/bash-completion/completions/teal
fi
[ -e /etc/teal/server.toml ] || install -m 0640 "$here/server.toml" /etc/teal/server.toml
for unit in teal.service teal-router.service; do
    sed "s|/usr/local/bin/teal|$prefix/bin/teal|" "$here/$unit" > "/etc/systemd/system/$unit"
done

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --quiet teal-router.service teal.service
    # A router that runs gives place to the new version without that a client notices; if that one does not come up, the old one goes on.
    if systemctl is-active --quiet teal-router.service; then
        systemctl reload teal-router.service || echo "The router goes on in its old version; \`journalctl -u teal-router\` says why." >&2
    else
        systemctl start teal-router.service
    fi
    systemctl restart teal.service
    echo "Teal runs. Log in with: teal login http://127.0.0.1:8600 --token-file /var/lib/teal/admin.token"
else
    echo "There is no systemd here. Start both by hand: teal router --supervise & teal server &"
fi
