"""The format of pprof: a profile as the gzipped protobuf message that `go tool pprof` opens.

This module owns the bytes, and nothing of what they tell. The message is that of profile.proto
(github.com/google/pprof), whose numbers of fields are the only part of it that is needed here. One
mapping that says it has names, files and lines keeps pprof from looking for them in a binary.
"""

import gzip
from collections.abc import Iterable, Iterator

from ..units import NS_PER_S
from .profile import Measure, Profile
from .stacks import Frame

CONTENT_TYPE = "application/octet-stream"

_MAPPING_ID = 1


def encode_number(number: int) -> bytes:
    """Return a number of at least 0 as a varint: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encode_value(field: int, number: int) -> bytes:
    """Return a field that is a number; nothing where it is 0, which is what a reader assumes."""
    return encode_number(field << 3) + encode_number(number) if number else b""


def encode_bytes(field: int, data: bytes) -> bytes:
    """Return a field that is a message, a text or packed numbers."""
    return encode_number(field << 3 | 2) + encode_number(len(data)) + data


def encode_numbers(field: int, numbers: Iterable[int]) -> bytes:
    """Return a field that is a list of numbers."""
    return encode_bytes(field, b"".join(map(encode_number, numbers)))


class _Texts:
    """The table of strings of a message; the first is empty."""

    def __init__(self) -> None:
        self._places = {"": 0}

    def place(self, text: str) -> int:
        return self._places.setdefault(text, len(self._places))

    def encode(self) -> Iterator[bytes]:
        return (encode_bytes(6, text.encode("utf-8", "replace")) for text in self._places)


class _Places:
    """The functions and locations of a message. A location is a line of a function."""

    def __init__(self, texts: _Texts) -> None:
        self._texts = texts
        self._functions: dict[tuple[str, str], int] = {}
        self._locations: dict[tuple[str, str, int], int] = {}
        self.encoded: list[bytes] = []

    def find(self, name: str, file: str, line: int) -> int:
        """Return the id of a location; ids begin with 1."""
        key = name, file, line
        location = self._locations.get(key)
        if location is None:
            location = self._locations[key] = len(self._locations) + 1
            at = encode_value(1, self._find_function(name, file)) + encode_value(2, line)
            self.encoded.append(
                encode_bytes(
                    4,
                    encode_value(1, location) + encode_value(2, _MAPPING_ID) + encode_bytes(4, at),
                )
            )
        return location

    def _find_function(self, name: str, file: str) -> int:
        key = name, file
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = len(self._functions) + 1
            text = self._texts.place(name)
            fields = ((1, function), (2, text), (3, text), (4, self._texts.place(file)))
            self.encoded.append(encode_bytes(5, b"".join(encode_value(*field) for field in fields)))
        return function

    def find_frame(self, frame: Frame) -> int:
        """Return the id of the location of a frame."""
        return self.find(frame.name, frame.file, frame.line)


def encode_profile(profile: Profile, time_ns: int) -> bytes:
    """Return a profile that was taken at a time, in nanoseconds since the Unix epoch.

    A thread is the outermost function of its stacks, and the label `thread` of its samples, so that
    those of a thread that runs no Python have a name as well.
    """
    texts = _Texts()
    places = _Places(texts)
    parts = [encode_bytes(1, _encode_measure(texts, measure)) for measure in profile.measures]
    label_key = texts.place("thread")
    for row in profile.rows:
        # The innermost frame first.
        locations = [places.find_frame(frame) for frame in reversed(row.stack)]
        locations.append(places.find(f"thread {row.thread}", "", 0))
        label = encode_value(1, label_key) + encode_value(2, texts.place(row.thread))
        sample = encode_numbers(1, locations) + encode_numbers(2, row.values)
        parts.append(encode_bytes(2, sample + encode_bytes(3, label)))
    parts.append(encode_bytes(3, _encode_mapping(texts)))
    parts += places.encoded
    parts.append(encode_value(9, time_ns))
    parts.append(encode_value(10, int(profile.seconds * NS_PER_S)))
    if profile.period:
        parts.append(encode_bytes(11, _encode_measure(texts, profile.measures[-1])))
        parts.append(encode_value(12, profile.period))
    parts.append(encode_value(13, texts.place(profile.note)))
    parts.append(encode_value(14, texts.place(profile.measures[-1].name)))
    parts += texts.encode()
    return gzip.compress(b"".join(parts), compresslevel=6, mtime=0)


def _encode_measure(texts: _Texts, measure: Measure) -> bytes:
    return encode_value(1, texts.place(measure.name)) + encode_value(2, texts.place(measure.unit))


def _encode_mapping(texts: _Texts) -> bytes:
    """Return the one mapping: has functions, file names, line numbers and inlined frames."""
    fields = ((1, _MAPPING_ID), (5, texts.place("ledgercore")), (7, 1), (8, 1), (9, 1), (10, 1))
    return b"".join(encode_value(*field) for field in fields)
