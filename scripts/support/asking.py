"""How the programs here ask a broker, and wait for what has no event."""

import http.client
import time

PATIENCE = 30


def until(what, condition, patience=PATIENCE):
    """Waits for `condition`, and returns what it says; what it waits for is a state, which has no event."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"it takes too long until {what}")
        time.sleep(0.05)
    return value


def get(address, path):
    """Status and body."""
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
