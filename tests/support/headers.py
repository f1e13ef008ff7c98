"""What the headers of the engine say: names as they stand there, and values from the compiler.

This module owns how a C header is read. It knows nothing of what Python makes of it.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
INTEGERS = {"uint64_t": "<u8", "int64_t": "<i8", "uint32_t": "<u4", "uint16_t": "<u2"}
INTEGERS |= {"uint8_t": "|u1", "uint64_t[2]": "|V16"}
"""What the types of a struct are in numpy's terms."""


class Field(NamedTuple):
    """A member of a struct: where it is, and what it is in numpy's terms."""

    name: str
    offset: int
    type: str


def read_header(header: str) -> str:
    """Return the text of a header of src/ without its comments."""
    return re.sub(r"/\*.*?\*/", "", (SOURCE / header).read_text(), flags=re.DOTALL)


def list_constants(header: str) -> list[str]:
    """Return the names that a header defines as macros with a value, but for its own guard."""
    return re.findall(r"^#define (LC_\w+)[ \t]+\S", read_header(header), re.MULTILINE)


def read_enum(header: str, name: str) -> dict[str, int]:
    """Return the members of an enum of a header by their names, without LC_."""
    body = re.search(rf"enum {name} {{(.*?)}}", read_header(header), re.DOTALL)
    assert body is not None
    names = re.findall(r"\bLC_\w+(?=\s*[=,}]|\s*$)", body[1])
    values = ask_compiler([header], names)
    return {name.removeprefix("LC_"): value for name, value in zip(names, values, strict=True)}


def read_struct(header: str, name: str) -> tuple[list[Field], int]:
    """Return the members of a struct of a header, those of its unions as well, and its size."""
    body = re.search(rf"typedef struct {name} {{(.*?)}} {name};", read_header(header), re.DOTALL)
    assert body is not None
    found = re.findall(r"\b(\w+_t) (\w+)((?:\[\d+\])?);", body[1])
    # What is no member of such a type opens or closes a union: nothing else may be left.
    rest = re.sub(r"\b\w+_t \w+(?:\[\d+\])?;", "", body[1])
    assert not re.sub(r"union|struct|[{};\s]", "", rest), f"{name} has more than numbers: {rest}"
    questions = [f"offsetof({name}, {member})" for _, member, _ in found] + [f"sizeof({name})"]
    *offsets, size = ask_compiler([header], questions)
    fields = [
        Field(member, offset, INTEGERS[kind + length])
        for (kind, member, length), offset in zip(found, offsets, strict=True)
    ]
    return fields, size


def ask_compiler(headers: Sequence[str], expressions: Sequence[str]) -> list[int]:
    """Return the values of expressions of whole numbers in a program that includes headers."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to ask what is in src/")
    includes = "".join(f'#include "{header}"\n' for header in headers)
    lines = "".join(f'    printf("%lld\\n", (long long)({text}));\n' for text in expressions)
    # A compiler is not to be watched by the sanitizer that may be loaded into this process.
    environment = {name: text for name, text in os.environ.items() if name != "LD_PRELOAD"}
    program = f"#include <stdio.h>\n{includes}int main(void)\n{{\n{lines}    return 0;\n}}\n"
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder, "ask")
        command = [compiler, "-std=gnu11", "-I", str(SOURCE), "-x", "c", "-", "-o", str(binary)]
        subprocess.run(command, input=program, text=True, check=True, env=environment)
        told = subprocess.run([binary], capture_output=True, text=True, check=True)
    return [int(line) for line in told.stdout.split()]
