"""Build the extensions; everything else about the project is told in pyproject.toml.

LEDGERCORE_DEBUG=1 keeps the asserts and checks every index; LEDGERCORE_SANITIZE takes `address`,
`thread`, `undefined` or `address,undefined`. Each variant has its own folder under build/, so
that objects with different flags never meet. LEDGERCORE_PREBUILT=1 compiles nothing: an editable
install would compile everything anew, beside what `make build` keeps up to date.
"""

import os
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

# All that an extension may be made of, beside its own source.
SHARED = [
    f"{folder}/*.{kind}"
    for folder in ("src", "ledgercore", "service")
    for kind in ("h", "pxi", "pxd")
]

SANITIZERS = ("", "address", "thread", "undefined", "address,undefined")

# The last three quieten what Cython's generated code is full of, and nobody here can mend.
FLAGS = ["-std=gnu11", "-pthread", "-fvisibility=hidden", "-Wall", "-Wextra"]
FLAGS += ["-Werror=implicit-function-declaration"]
FLAGS += ["-Wno-unused-function", "-Wno-unused-parameter", "-Wno-cast-function-type"]
CHECKED = ["-g", "-fno-omit-frame-pointer", "-UNDEBUG", "-DLC_DEBUG=1"]


def switch(name: str, allowed: tuple[str, ...]) -> str:
    """Return a build switch, and refuse a value that would otherwise be ignored."""
    value = os.environ.get(name, "")
    if value not in allowed:
        raise SystemExit(f"{name}={value!r} is none of {', '.join(filter(None, allowed))}")
    return value


def flags(debug: bool, sanitizer: str) -> list[str]:
    """Return the flags of the compiler; they follow Python's own, and so override them."""
    if sanitizer:
        # Python compiles with -fwrapv, under which no overflow is undefined and none reported.
        last = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=undefined", "-fno-wrapv"]
        return [*FLAGS, *CHECKED, "-O1", *last]
    return [*FLAGS, *CHECKED, "-O0"] if debug else [*FLAGS, "-O3", "-DNDEBUG"]


def main() -> None:
    """Compile each .pyx of the engine and the service into the extension of its name."""
    sanitizer = switch("LEDGERCORE_SANITIZE", SANITIZERS)
    debug = switch("LEDGERCORE_DEBUG", ("", "0", "1")) == "1"
    prebuilt = switch("LEDGERCORE_PREBUILT", ("", "1")) == "1"
    variant = sanitizer.replace(",", "-") or ("debug" if debug else "release")
    processors = os.cpu_count() or 1
    extensions = [
        Extension(
            source.removesuffix(".pyx").replace("/", "."),
            [source],
            include_dirs=["src"],
            depends=["setup.py", *(file for pattern in SHARED for file in glob(pattern))],
            extra_compile_args=flags(debug, sanitizer),
            extra_link_args=[f"-fsanitize={sanitizer}"] if sanitizer else [],
        )
        for source in (() if prebuilt else sorted(glob("ledgercore/*.pyx") + glob("service/*.pyx")))
    ]
    directives = {"language_level": 3, "boundscheck": debug or bool(sanitizer)}
    directives |= dict.fromkeys(("wraparound", "initializedcheck"), False)
    directives |= dict.fromkeys(("cdivision", "embedsignature"), True)
    base = f"build/{variant}"
    cython = {"build_dir": f"{base}/cython", "nthreads": processors}
    setup(
        ext_modules=cythonize(extensions, compiler_directives=directives, **cython),
        options={"build": {"build_base": base}, "build_ext": {"parallel": processors}},
    )


if __name__ == "__main__":
    main()
