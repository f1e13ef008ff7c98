#!/bin/sh
# Install the Debian packages that some tests need, where this machine lets us, and say so before;
# where it does not, or APT=no says not to, say which tests will be skipped. Never a reason to stop:
# every other test still runs. It asks nothing.

# The packages whose command is not here.
missing() {
    command -v strace >/dev/null || echo strace
    command -v mkfs.ext4 >/dev/null || echo e2fsprogs
    command -v mount >/dev/null || echo mount
    command -v chromium-headless-shell >/dev/null || echo chromium-headless-shell
    command -v curl >/dev/null || echo curl
    command -v redis-server >/dev/null || echo redis-server
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null \
        || echo postgresql
}

# Tests start servers of their own. So Debian is to start none, and to make no cluster to start: 101
# is what a policy says for "do not", and createcluster.conf comes before PostgreSQL itself.
install() {
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        policy=
    else
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    case "$*" in *postgresql*)
        apt-get -qq install --no-install-recommends postgresql-common
        sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' \
            /etc/postgresql-common/createcluster.conf
    esac
    apt-get -qq install --no-install-recommends "$@"
    [ -z "$policy" ] || rm "$policy"
}

if [ "${APT:-yes}" != no ] && [ -n "$(missing)" ] && [ "$(id -u)" = 0 ] \
    && command -v apt-get >/dev/null
then
    echo "installing these packages of Debian with apt-get (make test APT=no: none):" $(missing)
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null 2>&1
    install $(missing) >/dev/null 2>&1
fi
if [ -n "$(missing)" ]; then
    echo "not run: tests of failing disks, power cuts, pages and peers, which need Debian's" $(missing)
fi
