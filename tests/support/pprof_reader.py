"""A reader of pprof's format that shares nothing with the writer: protobuf's own, by the schema.

This module owns the schema, profile.proto of github.com/google/pprof, as a descriptor, and what a
test wants to know of a profile. It never asserts anything about a server.
"""

import gzip
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INT64, UINT64, BOOL, STRING, MESSAGE = 3, 4, 8, 9, 11
ONE, MANY = 1, 3
SCHEMA: dict[str, list[tuple[int, str, int, int, str]]] = {
    "ValueType": [(1, "type", INT64, ONE, ""), (2, "unit", INT64, ONE, "")],
    "Label": [
        (1, "key", INT64, ONE, ""),
        (2, "str", INT64, ONE, ""),
        (3, "num", INT64, ONE, ""),
        (4, "num_unit", INT64, ONE, ""),
    ],
    "Sample": [
        (1, "location_id", UINT64, MANY, ""),
        (2, "value", INT64, MANY, ""),
        (3, "label", MESSAGE, MANY, "Label"),
    ],
    "Mapping": [
        (1, "id", UINT64, ONE, ""),
        (2, "memory_start", UINT64, ONE, ""),
        (3, "memory_limit", UINT64, ONE, ""),
        (4, "file_offset", UINT64, ONE, ""),
        (5, "filename", INT64, ONE, ""),
        (6, "build_id", INT64, ONE, ""),
        (7, "has_functions", BOOL, ONE, ""),
        (8, "has_filenames", BOOL, ONE, ""),
        (9, "has_line_numbers", BOOL, ONE, ""),
        (10, "has_inline_frames", BOOL, ONE, ""),
    ],
    "Line": [
        (1, "function_id", UINT64, ONE, ""),
        (2, "line", INT64, ONE, ""),
    ],
    "Location": [
        (1, "id", UINT64, ONE, ""),
        (2, "mapping_id", UINT64, ONE, ""),
        (3, "address", UINT64, ONE, ""),
        (4, "line", MESSAGE, MANY, "Line"),
        (5, "is_folded", BOOL, ONE, ""),
    ],
    "Function": [
        (1, "id", UINT64, ONE, ""),
        (2, "name", INT64, ONE, ""),
        (3, "system_name", INT64, ONE, ""),
        (4, "filename", INT64, ONE, ""),
        (5, "start_line", INT64, ONE, ""),
    ],
    "Profile": [
        (1, "sample_type", MESSAGE, MANY, "ValueType"),
        (2, "sample", MESSAGE, MANY, "Sample"),
        (3, "mapping", MESSAGE, MANY, "Mapping"),
        (4, "location", MESSAGE, MANY, "Location"),
        (5, "function", MESSAGE, MANY, "Function"),
        (6, "string_table", STRING, MANY, ""),
        (7, "drop_frames", INT64, ONE, ""),
        (8, "keep_frames", INT64, ONE, ""),
        (9, "time_nanos", INT64, ONE, ""),
        (10, "duration_nanos", INT64, ONE, ""),
        (11, "period_type", MESSAGE, ONE, "ValueType"),
        (12, "period", INT64, ONE, ""),
        (13, "comment", INT64, MANY, ""),
        (14, "default_sample_type", INT64, ONE, ""),
    ],
}
"""Number, name, type, how many, and of which message, by message."""


def _make_reader() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="profile.proto", package="perftools.profiles", syntax="proto3"
    )
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, field, kind, label, of in fields:
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                added.type_name = f".perftools.profiles.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("perftools.profiles.Profile"))


_Message = _make_reader()


@dataclass(frozen=True)
class Seen:
    """One sample: its thread, its stack with the inner frame first, and its numbers."""

    thread: str
    stack: tuple[tuple[str, str, int], ...]
    values: tuple[int, ...]

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.stack]

    @property
    def files(self) -> set[str]:
        return {file for _, file, _ in self.stack}


class PprofFile:
    """A profile that was read."""

    def __init__(self, data: bytes) -> None:
        self.message = _Message.FromString(gzip.decompress(data))
        self.texts = list(self.message.string_table)
        assert self.texts[0] == ""
        self._functions = {function.id: function for function in self.message.function}
        self._locations = {location.id: location for location in self.message.location}
        assert len(self._functions) == len(self.message.function)
        assert len(self._locations) == len(self.message.location)
        self.samples = list(self._read_samples())

    @property
    def measures(self) -> list[tuple[str, str]]:
        return [(self.texts[one.type], self.texts[one.unit]) for one in self.message.sample_type]

    @property
    def comments(self) -> list[str]:
        return [self.texts[place] for place in self.message.comment]

    @property
    def threads(self) -> Counter[str]:
        """How much of the first measure each thread has."""
        counts: Counter[str] = Counter()
        for sample in self.samples:
            counts[sample.thread] += sample.values[0]
        return counts

    def _read_samples(self) -> Iterator[Seen]:
        for sample in self.message.sample:
            labels = {self.texts[label.key]: self.texts[label.str] for label in sample.label}
            stack = tuple(self._read_location(place) for place in sample.location_id)
            yield Seen(labels["thread"], stack, tuple(sample.value))

    def _read_location(self, place: int) -> tuple[str, str, int]:
        location = self._locations[place]
        assert location.mapping_id == self.message.mapping[0].id
        (line,) = location.line
        function = self._functions[line.function_id]
        return self.texts[function.name], self.texts[function.filename], line.line
