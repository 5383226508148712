"""Values on their way between a test and a driver: JSON, with bytes as `{"$bytes": base64}`."""

import base64


def wrap(value):
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": base64.b64encode(value).decode()}
    return walk(value, wrap)


def unwrap(value):
    if isinstance(value, dict) and isinstance(value.get("$bytes"), str):
        return base64.b64decode(value["$bytes"])
    return walk(value, unwrap)


def walk(value, visit):
    if isinstance(value, (list, tuple)):
        return [visit(inner) for inner in value]
    if isinstance(value, dict):
        return {key: visit(inner) for key, inner in value.items()}
    return value
