# What the scripts share: finding a Python, making the environment, installing what Debian and npm have.
# Sourced, never run.

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

runs() { "$1" -c '' >/dev/null 2>&1; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# python_of 3.12: the path of that Python. A pyenv shim on PATH may name a version that it then refuses to run,
# so only one that runs counts, and pyenv's own folders are looked at too.
python_of() {
    local candidate
    for candidate in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if [ -n "$candidate" ] && runs "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# The Python to use: $PYTHON, else python3, else a newer one that stands beside it.
default_python() {
    local version
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a Python of version 3.11 or newer that runs"
        printf '%s\n' "$PYTHON"
        return
    fi
    if new_enough python3; then
        command -v python3
        return
    fi
    for version in 3.13 3.12 3.11; do
        python_of "$version" && return
    done
    fail "trunkline needs Python 3.11 or newer; $(python3 --version 2>&1 || true) is what python3 gives." \
        "Install one, or name it: PYTHON=/path/to/python3.12 $0"
}

# What an installation depends on: when it is unchanged, installing again would change nothing.
fingerprint() {
    "$1" -c 'import hashlib, os, pathlib, sys
engine = pathlib.Path("src/trunkline/engine")
compiled = [*sorted(engine.glob("*.p[yx][xd]")), engine / "_channel.py"]
parts = [pathlib.Path(name).read_bytes() for name in ("pyproject.toml", "setup.py", *compiled)]
print(hashlib.sha256(b"".join(parts) + f"{os.getcwd()} {sys.version}".encode()).hexdigest())'
}

# make_env VENV PYTHON EXTRA: a virtual environment with trunkline in it, editable; EXTRA is '' or 'dev'.
make_env() {
    local venv=$1 python=$2 extra=$3 stamp wanted
    if ! runs "$venv/bin/python"; then
        say "making $venv with $("$python" --version)"
        "$python" -m venv --clear "$venv" ||
            fail "$python cannot make a virtual environment (on Debian: apt-get install python3-venv)"
    fi
    wanted=$(fingerprint "$venv/bin/python")
    for stamp in "$venv/.installed-dev" "$venv/.installed-$extra"; do
        [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    done
    say "installing trunkline${extra:+ with what its tests need} into $venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".${extra:+[$extra]}" ||
        fail "the installation failed; pip's words are above"
    printf '%s\n' "$wanted" >"$venv/.installed-$extra"
}

# debian_install PACKAGE...: with apt-get, as root or through a sudo that asks for no password.
debian_install() {
    local as_root=()
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n)
    fi
    say "installing $* with apt-get"
    "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >&2
}

have_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null

# The browser test needs Chromium.
make_browser() {
    have_chromium || debian_install chromium ||
        say "no Chromium, and none could be installed (Debian package: chromium): the browser test cannot run"
}

# The hub's tests start Redis servers of their own; a service that the package starts is not used, and not wanted.
make_redis() {
    command -v redis-server >/dev/null && return
    if debian_install redis-server; then
        { systemctl disable --now redis-server || service redis-server stop; } >/dev/null 2>&1 || true
    else
        say "no redis-server, and none could be installed (Debian package: redis-server): tests with it cannot run"
    fi
}

# What a proxy does to WebSockets is tried on nginx, with a configuration of the test's own.
make_nginx() {
    { command -v nginx || [ -x /usr/sbin/nginx ]; } >/dev/null && return
    if debian_install nginx-light; then
        { systemctl disable --now nginx || service nginx stop; } >/dev/null 2>&1 || true
    else
        say "no nginx, and none could be installed (Debian package: nginx-light): tests with it are skipped"
    fi
}

# The contract suite's second client is Node's `ws`.
make_node_client() {
    local folder=tests/contracts/node
    if ! { command -v node && command -v npm; } >/dev/null && ! debian_install nodejs npm; then
        say "no Node with npm, and none could be installed (Debian packages: nodejs npm): tests with it cannot run"
        return
    fi
    cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed" && return
    say "installing Node's ws into $folder"
    if npm ci --prefix "$folder" --no-audit --no-fund --loglevel error >&2; then
        cp "$folder/package-lock.json" "$folder/node_modules/.installed"
    else
        say "npm could not install ws; its words are above: tests with it cannot run"
    fi
}
