#!/bin/sh
# Installs the clients that the lock files pin, and lets them talk through the daemon.
# Arguments go to pytest: `./run.sh -k burst`.
set -eu
cd "$(dirname "$0")"

# The proxies are Debian's, and so is the server of Redis: test_proxies.py, test_sticky.py and test_emitters.py
# start them.
../../scripts/need.sh nginx haproxy caddy openssl redis-server
export PATH="$PATH:/usr/sbin"

# Each is installed again only when its lock file has changed.
./install-js.sh
for version in 4 5; do
    lock="requirements-py$version.txt"
    environment=".venv-py$version"
    if ! cmp -s "$lock" "$environment/.installed"; then
        python3 -m venv --clear "$environment"
        # The lock file names everything; what it does not name must not be brought in.
        "$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$lock"
        "$environment/bin/pip" check
        cp "$lock" "$environment/.installed"
    fi
done

# Each wait has a deadline; when many pass theirs, the daemon is broken and the rest tells nothing.
export PYTHONDONTWRITEBYTECODE=1
exec timeout 900 .venv-py5/bin/python -m pytest -p no:cacheprovider --maxfail=10 --tb=short "$@"
