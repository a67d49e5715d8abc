#!/bin/sh
# Makes .venv as constraints.txt pins it; `make env` calls this and nobody else has to.
# Needs Python 3.11 or 3.12 and a package index. PYTHON=/path/to/python3.12 names another interpreter.
# Safe to interrupt and to start twice: the stamp comes last, and a lock lets one run work at a time.
set -eu

stamp=.venv/.ready
export UV_PYTHON_DOWNLOADS=never # the machine's own Python, or a clear error
unset UV_SYSTEM_PYTHON VIRTUAL_ENV CONDA_PREFIX PYTHONHOME || true

die() {
    echo "error: $*" >&2
    exit 1
}

fits() { # is $1 a Python that the pinned packages run on?
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || die "PYTHON=$PYTHON is not a working Python 3.11 or 3.12"
        command -v "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3 python; do
        if command -v "$candidate" >/dev/null && fits "$candidate"; then
            # The interpreter itself: a version manager's shim answers by the folder it is called from.
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    die "Python 3.11 or 3.12 is needed and not on PATH: install python3.11 (or python3.12), or name one with PYTHON=/path/to/it"
}

find_uv() { # uv from PATH, else one of our own under .tools
    if command -v uv >/dev/null && uv --version >/dev/null 2>&1; then
        command -v uv
        return
    fi
    if ! .tools/uv/bin/uv --version >/dev/null 2>&1; then
        rm -rf .tools/uv
        echo "fetching uv into .tools/uv" >&2
        if "$1" -c 'import ensurepip, venv' 2>/dev/null; then
            "$1" -m venv .tools/uv && .tools/uv/bin/python -m pip install --quiet uv >&2
        else # some distributions ship pip without venv
            "$1" -m pip install --quiet --target .tools/uv uv >&2
        fi || die "uv could not be installed with $1: is the package index reachable, and python3-venv (or pip) installed?"
    fi
    echo "$PWD/.tools/uv/bin/uv"
}

up_to_date() {
    [ "$(cat $stamp 2>/dev/null)" = "$PWD" ] && [ $stamp -nt pyproject.toml ] && [ $stamp -nt constraints.txt ] &&
        .venv/bin/python -c '' 2>/dev/null
}

mkdir -p .tools
exec 9>.tools/lock
if command -v flock >/dev/null; then
    flock -n 9 || { echo "waiting for another set-up in this folder" >&2 && flock 9; }
fi
if up_to_date; then exit 0; fi

python=$(find_python)
uv=$(find_uv "$python")
# A finished environment of this very folder is brought up to date; anything else (half made, moved) is made anew.
if [ "$(cat $stamp 2>/dev/null)" != "$PWD" ] || ! .venv/bin/python -c '' 2>/dev/null; then
    rm -rf .venv
    "$uv" venv --quiet --python "$python" .venv
fi
rm -f $stamp
echo "installing the environment with $("$uv" --version) and $(.venv/bin/python --version)" >&2
"$uv" pip install --quiet --python .venv/bin/python -c constraints.txt -e '.[dev]' ||
    die "the environment could not be installed (see above); run make again once that is mended"
"$uv" pip install --quiet --python .venv/bin/python --no-deps "$(sed -n 's/^reference = \["\(.*\)"\]$/\1/p' pyproject.toml)" ||
    die "the reference implementations could not be installed (see above); run make again once that is mended"
echo "$PWD" >$stamp
