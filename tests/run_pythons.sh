#!/bin/sh
# Run tests on each CPython that this machine has beside the one of .venv: run_pythons.sh TEST...
# What is compiled for one has its asserts, and goes to build/pythonX.Y, as does what it needs from
# PyPI. A version that is not here is told of, and is no failure.
set -eu

VERSIONS='3.11 3.12 3.13 3.14'
OWN=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# Print the interpreter of a version: from PATH, where a shim of pyenv stands for one that may not be
# there, or from pyenv itself, the newest first.
find_python() {
    for found in "$(command -v "python$1" || true)" \
        $(ls -rd "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python 2>/dev/null || true)
    do
        if [ -n "$found" ] && "$found" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$found"
            return
        fi
    done
}

# What the package needs, and of the tools for tests those that every test of the core uses.
requirements() {
    .venv/bin/python - <<'END'
import re, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
tools = [one for one in project["optional-dependencies"]["test"] if re.match("hypothesis|pytest", one)]
print(*project["dependencies"], *tools, "setuptools", "cython", sep="\n")
END
}

for version in $VERSIONS; do
    [ "$version" != "$OWN" ] || continue
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        echo "not run: the core tests on Python $version, which is not on this machine"
        continue
    fi
    place=build/python$version
    run=$PWD/$place/venv/bin/python
    echo "running the core tests on $("$python" -V)"
    if [ ! -e "$place/installed" ] || [ pyproject.toml -nt "$place/installed" ]; then
        rm -rf "$place/venv"
        "$python" -m venv "$place/venv"
        requirements >"$place/requirements.txt"
        "$run" -m pip install --quiet --disable-pip-version-check -r "$place/requirements.txt"
        touch "$place/installed"
    fi
    LEDGERCORE_DEBUG=1 "$run" setup.py --quiet build --build-lib "$place/tree"
    rm -rf "$place/tree/src" "$place/tree/tests"
    cp -R src tests pyproject.toml "$place/tree"
    (cd "$place/tree" && PYTHONPATH=$PWD "$run" -m pytest -m "not slow" -p no:cacheprovider \
        --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
        --benchmark-disable "$@")
done
