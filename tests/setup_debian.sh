#!/bin/sh
# Install the Debian packages that some tests need, where this machine lets us; where it does not,
# say which tests will be skipped. Never a reason to stop: every other test still runs.

# The packages whose command is not here.
missing() {
    command -v strace >/dev/null || echo strace
    command -v mkfs.ext4 >/dev/null || echo e2fsprogs
    command -v mount >/dev/null || echo mount
}

if [ -n "$(missing)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing" $(missing)
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null 2>&1
    apt-get -qq install --no-install-recommends $(missing) >/dev/null 2>&1
fi
if [ -n "$(missing)" ]; then
    echo "not run: tests of failing disks and power cuts, which need Debian's" $(missing)
fi
