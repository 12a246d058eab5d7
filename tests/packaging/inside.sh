#!/usr/bin/env bash
# Run by run.sh in a root of its own, where /tmp has the packages and the sources: installs, uses and removes the packages.
set -u
cd /tmp
export HOME=${HOME:-/root}

check() { # WORDS COMMAND...
    local words=$1
    shift
    if ("$@") >/tmp/log 2>&1; then
        echo "ok: $words"
    else
        echo "FAILED: $words"
        tail -n 30 /tmp/log
    fi
}

install_them() { dpkg -i debs/libweft1_*.deb debs/libweft-dev_*.deb debs/weft_*.deb && ldconfig -p | grep libweft.so.1; }
the_command() { [ "$(command -v weft)" = /usr/bin/weft ] && weft --version && weft doctor --json | grep -q '"' && getent passwd weft; }
by_pkg_config() { cc -std=c11 -o programs examples/c/programs.c $(pkg-config --cflags --libs weft) -lpthread && ./programs; }
by_cmake() {
    mkdir -p by_cmake && cp examples/cpp/hello.cpp examples/cpp/process.h by_cmake && cd by_cmake || return 1
    printf '%s\n' 'cmake_minimum_required(VERSION 3.25)' 'project(hello CXX)' 'find_package(Weft 0.1 REQUIRED)' \
        'add_executable(hello hello.cpp)' 'target_link_libraries(hello weft::weft)' \
        'target_compile_features(hello PRIVATE cxx_std_17)' >CMakeLists.txt
    cmake -B build . && cmake --build build && build/hello
}
the_module() { cd examples/go && GOFLAGS=-buildvcs=false "$GO" build -o /tmp/go_hello ./hello && /tmp/go_hello; }
the_crate() { cd sdk-rust && CARGO_TARGET_DIR=/tmp/cargo cargo run --quiet --locked -p weft-examples --bin hello; }
without_it() { # COMMAND...: fails, and says what to install
    ! "$@" >/tmp/words 2>&1 && cat /tmp/words && grep -q -i weft /tmp/words && grep -q -E 'libweft|pkg-config|install' /tmp/words
}
remove_them() { dpkg -P weft libweft-dev libweft1 && ! dpkg -l 'libweft*' weft 2>/dev/null | grep '^ii'; }

check "the Debian packages are installed" install_them
check "the command and its user are there" the_command
check "a C program is built by pkg-config" by_pkg_config
check "a C++ program is built by find_package(Weft)" by_cmake
[ -z "$GO" ] || check "the Go module is built and runs" the_module
[ ! -d sdk-rust ] || check "the crate is built and runs" the_crate
check "they are removed" remove_them
userdel weft 2>/dev/null # users stay, as they should; the check behind this one looks for files
[ -z "$GO" ] || check "without the library, Go says what to install" without_it the_module
rm -rf cargo
[ ! -d sdk-rust ] || check "without the library, cargo says what to install" without_it the_crate
echo done
