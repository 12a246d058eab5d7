#!/usr/bin/env bash
# Run by systemd in service.sh's container, where the packages are installed: what an administrator does with the service.
set -u
socket=unix:/run/weft/weft.sock

check() { # WORDS COMMAND...
    local words=$1
    shift
    if ("$@") >/tmp/log 2>&1; then
        echo "ok: $words"
    else
        echo "FAILED: $words"
        tail -n 30 /tmp/log
        journalctl --no-pager -u weft | tail -n 30
    fi
}
get() { systemctl show weft -p "$1" --value; }
is() { # PROPERTY VALUE: within a quarter of a minute
    local tries
    for tries in $(seq 150); do
        [ "$(get "$1")" != "$2" ] || return 0
        sleep 0.1
    done
    echo "$1 is $(get "$1"), not $2"
    return 1
}
serves() { runuser -u weft -- weft stats --connect $socket; }

# Ready means ready: nobody waits between the start and the first call.
starts() { systemctl start weft && serves && [ "$(get StatusText)" = "serving at $socket" ]; }
is_closed() { [ "$(stat -c %U:%a /var/lib/weft)" = weft:700 ] && ! weft stats --connect $socket; }
reloads() {
    local before
    before=$(get MainPID)
    systemctl reload weft && is SubState running && [ "$(get MainPID)" = "$before" ] && serves &&
        journalctl --no-pager -u weft | grep 'read again'
}
comes_back() { kill -9 "$(get MainPID)" && is NRestarts 1 && is SubState running && serves; }
stops() {
    systemctl stop weft && [ "$(get Result)" = success ] && [ "$(get ActiveState)" = inactive ] && [ ! -e /run/weft ] &&
        grep -x clean /var/lib/weft/lock
}
says_what_is_wrong() {
    echo 'nonsense=1' >>/etc/weft/weft.conf
    ! systemctl start weft && journalctl --no-pager -u weft | grep 'unknown option nonsense' && is ActiveState failed &&
        [ "$(get NRestarts)" = 0 ]
}

check "systemd finds no fault in the unit" systemd-analyze verify --man=no weft.service
check "it is started when it serves" starts
check "root and other users are not admitted without a token" is_closed
check "a reload reads again, in the same process" reloads
check "killed, it comes back" comes_back
check "it stops cleanly and leaves the clean mark" stops
check "with a wrong configuration it says what is wrong and is not started again and again" says_what_is_wrong
echo done
