"""Build the extensions; everything else about the project is told in pyproject.toml.

LEDGERCORE_DEBUG=1 keeps the asserts and checks every index; LEDGERCORE_SANITIZE takes `address`,
`thread`, `undefined` or `address,undefined`. LEDGERCORE_COVERAGE=1 counts how often each line runs.
Each variant has its own folder under build/, so that objects with different flags never meet.
LEDGERCORE_PREBUILT=1 compiles nothing: an editable install would compile everything anew, beside
what `make build` keeps up to date.

The folder service/ is the package ledgercore.service. Python finds it by what pyproject.toml says;
Cython and type checkers find packages by folders alone, so NAMES holds that package under its name.
"""

import os
from glob import glob
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build import build

SERVICE = "service"
NAMES = Path("build/names")
"""Where the package ledgercore.service is in a folder of its name."""

# All that an extension may be made of, beside its own source.
SHARED = ("src/**/*.h", "ledgercore/*.pxd", f"{SERVICE}/**/*.pxd")

SANITIZERS = ("", "address", "thread", "undefined", "address,undefined")

# The last three quieten what Cython's generated code is full of, and nobody here can mend.
FLAGS = ["-std=gnu11", "-pthread", "-fvisibility=hidden", "-Wall", "-Wextra"]
FLAGS += ["-Werror=implicit-function-declaration"]
FLAGS += ["-Wno-unused-function", "-Wno-unused-parameter", "-Wno-cast-function-type"]
# Threads that hold no lock count too, hence the atomic updates.
COUNTED = ["-O0", "--coverage", "-fprofile-update=prefer-atomic", "-DNDEBUG"]
CHECKED = ["-g", "-fno-omit-frame-pointer", "-UNDEBUG", "-DLC_DEBUG=1"]


class CleanBuild(build):
    """Takes out what an earlier build has left, for all that lies there is packed into the wheel.

    A module that was renamed would be installed under both names, and so would a whole package.
    """

    def run(self) -> None:
        """Build, and keep only what was built now."""
        super().run()
        commands = [self.get_finalized_command(name) for name in self.get_sub_commands()]
        made = {Path(output) for command in commands for output in command.get_outputs()}
        for package in ("ledgercore", SERVICE):
            for left in set(Path(self.build_lib, package).rglob("*")) - made:
                if left.is_file():
                    left.unlink()


def switch(name: str, allowed: tuple[str, ...]) -> str:
    """Return a build switch, and refuse a value that would otherwise be ignored."""
    value = os.environ.get(name, "")
    if value not in allowed:
        raise SystemExit(f"{name}={value!r} is none of {', '.join(filter(None, allowed))}")
    return value


def flags(debug: bool, sanitizer: str, counted: bool = False) -> list[str]:
    """Return the flags of the compiler; they follow Python's own, and so override them."""
    if counted:
        return [*FLAGS, *COUNTED]
    if sanitizer:
        # Python compiles with -fwrapv, under which no overflow is undefined and none reported.
        last = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=undefined", "-fno-wrapv"]
        return [*FLAGS, *CHECKED, "-O1", *last]
    return [*FLAGS, *CHECKED, "-O0"] if debug else [*FLAGS, "-O3", "-DNDEBUG"]


def link_names() -> Path:
    """Make the links under NAMES, and return the folder of the package ledgercore.service there."""
    package = NAMES / "ledgercore"
    package.mkdir(parents=True, exist_ok=True)
    for link, target in (("__init__.py", "ledgercore/__init__.py"), (SERVICE, SERVICE)):
        if not (package / link).is_symlink():
            (package / link).symlink_to(Path("../../..", target))
    return package / SERVICE


def find_sources() -> list[str]:
    """Return each .pyx, in a path that is its name as a module."""
    service = link_names()
    found = sorted(glob(f"{SERVICE}/**/*.pyx", recursive=True))
    ours = [str(service / Path(source).relative_to(SERVICE)) for source in found]
    return [*sorted(glob("ledgercore/*.pyx")), *ours]


def name_module(source: str) -> str:
    """Return the name of the module that is compiled from a source."""
    return source.removeprefix(f"{NAMES}/").removesuffix(".pyx").replace("/", ".")


def main() -> None:
    """Compile each .pyx of the engine and the service into the extension of its name."""
    sanitizer = switch("LEDGERCORE_SANITIZE", SANITIZERS)
    debug = switch("LEDGERCORE_DEBUG", ("", "0", "1")) == "1"
    counted = switch("LEDGERCORE_COVERAGE", ("", "0", "1")) == "1"
    prebuilt = switch("LEDGERCORE_PREBUILT", ("", "1")) == "1"
    variant = sanitizer.replace(",", "-") or ("debug" if debug else "release")
    variant = "coverage" if counted else variant
    linked = ["--coverage"] if counted else [f"-fsanitize={sanitizer}"] if sanitizer else []
    processors = os.cpu_count() or 1
    shared = [file for pattern in SHARED for file in glob(pattern, recursive=True)]
    extensions = [
        Extension(
            name_module(source),
            [source],
            include_dirs=["src"],
            depends=["setup.py", *shared],
            extra_compile_args=flags(debug, sanitizer, counted),
            extra_link_args=linked,
        )
        for source in (() if prebuilt else find_sources())
    ]
    directives = {"language_level": 3, "boundscheck": debug or bool(sanitizer)}
    directives |= dict.fromkeys(("wraparound", "initializedcheck"), False)
    directives |= dict.fromkeys(("cdivision", "embedsignature"), True)
    base = f"build/{variant}"
    cython = {"build_dir": f"{base}/cython", "nthreads": processors}
    setup(
        ext_modules=cythonize(extensions, compiler_directives=directives, **cython),
        cmdclass={"build": CleanBuild},
        options={"build": {"build_base": base}, "build_ext": {"parallel": processors}},
    )


if __name__ == "__main__":
    main()
