#!/usr/bin/env bash
# The Debian package's service under a real systemd: a root of its own (an overlay of this machine's) gets the packages that
# run.sh has made and is booted in a container without a network, where booted.sh starts, reloads, kills and stops the service.
# Needs root, and what can hold a container; where none boots, that is said and nothing is tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/checks.sh
boot_s=120

packages=(build/deb/packages/*.deb)
[ -f "${packages[0]}" ] || { echo "service: no packages yet: run tests/packaging/run.sh" >&2; exit 1; }
if ! command -v systemd-nspawn >/dev/null; then
    { apt-get -y update && apt-get -y --no-install-recommends install systemd systemd-container; } >"$work/log" 2>&1 </dev/null ||
        { cat "$work/log" >&2; exit 1; }
fi

mkdir "$work/in"
cp build/deb/packages/{libweft1,weft}_*.deb tests/packaging/booted.sh "$work/in"
cat >"$work/in/booted.service" <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/bash /in/booted.sh
StandardOutput=append:/said
StandardError=null
ExecStopPost=/bin/systemctl --no-block poweroff
UNIT

boot() {
    unshare --mount --propagation private bash -euc '
        work=$1
        mkdir "$work/over"
        mount -t tmpfs -o mode=755 tmpfs "$work/over"
        mkdir "$work"/over/{upper,work,root}
        mount -t overlay overlay -o "lowerdir=/,upperdir=$work/over/upper,workdir=$work/over/work" "$work/over/root"
        root=$work/over/root
        cp -r "$work/in" "$root/in"
        chroot "$root" dpkg -i $(cd "$root" && printf "/%s " in/*.deb)
        mkdir -p "$root/etc/weft"
        sed "s/^memory=.*/memory=64MiB/" "$root/usr/share/doc/weft/weft.conf" >"$root/etc/weft/weft.conf"
        cp "$root/in/booted.service" "$root/etc/systemd/system"
        : >"$root/etc/machine-id"
        timeout -k 5 "$2" systemd-nspawn --quiet --register=no --keep-unit --private-network --console=pipe --boot \
            --machine="weft-$$" --directory="$root" systemd.unit=booted.service || true
        cp "$root/said" "$work/said" || true
    ' boot "$work" $boot_s </dev/null
}

: >"$work/said"
boot >"$work/boot" 2>&1 || true
if [ ! -s "$work/said" ]; then
    tail -n 20 "$work/boot"
    grep -q 'Unpacking weft' "$work/boot" || { echo "service: the root was not made"; exit 1; }
    echo "service: 0 passed, 0 failed (skipped: no container with systemd boots on this machine)"
    exit 0
fi
cat "$work/said"
passed=$(grep -c '^ok: ' "$work/said" || true)
failed=$(grep -c '^FAILED: ' "$work/said" || true)
check "what was to be done in the container was done" grep -q '^done$' "$work/said"
echo "service: $passed passed, $failed failed"
[ "$failed" = 0 ]
