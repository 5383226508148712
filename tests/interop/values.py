"""The messages that every client must be able to send to every other."""

TEXT = {
    "text": "hello",
    "empty": "",
    "controls": 'quote " backslash \\ slash / newline \n return \r tab \t bell \x07 delete \x7f',
    "zero": "before\x00after",
    "separators": "line\u2028paragraph\u2029record\x1eend",
    "accents": "Grüße, ñandú, œuvre",
    "combining": "e\u0301 is not \u00e9",
    "emoji": "😀 👩‍👩‍👧‍👦 🏳️‍🌈",
    "astral": "𝒳 𐍈 \U0010fffd",
    "right to left": "שלום مرحبا",
    "byte order mark": "\ufeffstart",
    "looks like a packet": '42["publish","room",1]',
    "looks like a placeholder": '{"_placeholder":true,"num":0}',
}

JSON = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "negative": -1,
    "largest safe integer": 2**53 - 1,
    "fraction": 0.1,
    "negative fraction": -1234.5678,
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
    "empty array": [],
    "empty object": {},
    "array": [1, "two", None, [3, [4]]],
    "object": {"z": 1, "a": {"y": [True, {"b": "ü😀"}]}, "": "no name", "_id": 7},
    "nested": None,  # Built below.
}
for _ in range(60):
    JSON["nested"] = {"in": [JSON["nested"]]}

# More digits than a double has. JavaScript rounds it, in both directions; Python does not.
BIG_INTEGER = 12345678901234567890

ALL_BYTES = bytes(range(256))

BINARY = {
    "bytes": b"\x01\x02\x03\x04",
    "empty bytes": b"",
    "every byte": ALL_BYTES,
    "one zero": b"\x00",
    "not utf-8": b"\xff\xfe\xc3\x28",
    "in an array": [b"first", "between", b"second"],
    "nested": {"file": {"name": "ü.bin", "content": [ALL_BYTES, None]}, "thumb": b"t"},
    "several": [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"],
    "same twice": {"a": b"same", "b": b"same"},
    "some of them empty": [b"", b"x", b""],
}

SMALL = [*TEXT.values(), *JSON.values(), BIG_INTEGER, *BINARY.values()]

# Each just fits, as JSON with escapes and as base64.
LARGE = [
    "".join(chr(ord("a") + number % 26) for number in range(900_000)),
    "ü€" * 75_000,
    ALL_BYTES * 1953 + bytes(32),
    {"first": ALL_BYTES * 500, "second": [ALL_BYTES * 500, "text"]},
]
assert len(LARGE[2]) == 500_000


# The MessagePack of the JavaScript clients takes a double without a fraction for an integer of 64
# bits. And every message is an attachment, which is base64 over polling: a third more.
MSGPACK_SMALL = [message for message in SMALL if message != JSON["huge"]]
MSGPACK_LARGE = [LARGE[0][:700_000], *LARGE[1:]]


def expected(message, subscriber):
    """What `subscriber` makes of a message: the message, but for one defect.

    Engine.IO 3 of Python turns an empty attachment into `None`.
    """
    if subscriber.startswith("py4"):
        return without_empty_bytes(message)
    return message


def without_empty_bytes(value):
    if isinstance(value, dict):
        return {key: without_empty_bytes(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_empty_bytes(inner) for inner in value]
    return None if value == b"" else value


def same(received, sent, exact):
    """Whether the messages are equal, types and the order of keys included.

    Without `exact`, numbers are compared as the doubles that JavaScript makes of them.
    """
    if isinstance(sent, (list, tuple)):
        return (
            isinstance(received, list)
            and len(received) == len(sent)
            and all(same(r, s, exact) for r, s in zip(received, sent))
        )
    if isinstance(sent, dict):
        return (
            isinstance(received, dict)
            and list(received) == list(sent)
            and all(same(received[key], sent[key], exact) for key in sent)
        )
    if isinstance(sent, (int, float)) and not isinstance(sent, bool) and not exact:
        number = isinstance(received, (int, float)) and not isinstance(received, bool)
        return number and float(received) == float(sent)
    return type(received) is type(sent) and received == sent
