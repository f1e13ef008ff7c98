"""The addresses under /debug/pprof: what an operator asks of a server that is slow.

This module owns which of them does what, the bounds of a profile, and that one is taken at a time.
All need the scope `admin`. A profile costs what its page says, and nothing stays behind: whoever
hangs up ends it.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sanic import Blueprint
from sanic.response import HTTPResponse

from ..access.key_ring import Scope
from ..admission.guard import guard, readable
from ..profiling import heap, proc, py_spy, thread_dump, thread_sampler
from ..profiling.formats import (
    COLLAPSED,
    PLAIN,
    PPROF,
    SVG,
    TEXT,
    ProfileContent,
    choose_format,
    write_profile,
)
from ..profiling.pprof import CONTENT_TYPE as PPROF_TYPE
from ..profiling.profile import Profile, make_cpu_profile
from ..profiling.stacks import read_stacks
from ..runtime.lifecycle import lifecycle_of
from ..wire.base_path import base_path_of, put_on_document
from ..wire.json_bodies import refuse
from ..wire.paths import make_parameter_error, read_parameters, takes
from ..wire.problems import PROFILE_RUNNING, Problem
from ..wire.sanic_types import AnyRequest
from .documents import load_document

SECONDS = 30
"""How long a profile is unasked, as in Go."""
SECONDS_MAX = 55
"""With what comes before and after it, an answer is there within the minute that Sanic gives it."""

PICTURES = (PPROF, SVG, COLLAPSED)
PYTHON_ONLY = "Python frames only: "

PAGE = load_document("pages/profiles.html")
"""What there is, and what each costs a server under load. The costs were measured on a small
machine, whose two processors the profiler shared with the server and its load."""
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""What a browser may load for the page and the pictures: nothing but their own style."""

_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

logger = logging.getLogger("ledgercore")

profile_routes = Blueprint("profiles", url_prefix="/debug/pprof")
_get = partial(readable, profile_routes)
_match_number = re.compile(r"[1-9][0-9]{0,3}").fullmatch


class _ProfileLock:
    """Lets one profile be taken at a time: a process has one tracer and one memray."""

    def __init__(self) -> None:
        self._is_taken = False

    @contextmanager
    def hold(self) -> Iterator[Path]:
        """Yield a directory for what a profile leaves; refuse it while another is being taken."""
        if self._is_taken:
            detail = "One profile is taken at a time; try again when the other one has ended."
            raise Problem(PROFILE_RUNNING, detail)
        self._is_taken = True
        try:
            with TemporaryDirectory(prefix="ledgercore-profile-") as scratch:
                yield Path(scratch)
        finally:
            self._is_taken = False


_profile_lock = _ProfileLock()


def _read_count(parameters: dict[str, str], name: str, default: int, highest: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not _match_number(text) or int(text) > highest:
        detail = f"It is a whole number between 1 and {highest}."
        refuse([make_parameter_error(name, "out-of-range", detail)])
    return int(text)


def _answer(content: ProfileContent, profiler: str = "") -> HTTPResponse:
    headers = dict(_HEADERS)
    if profiler:
        headers["x-profiler"] = profiler
    if content.file_name:
        headers["content-disposition"] = f'attachment; filename="{content.file_name}"'
    if content.content_type.startswith("image/svg"):
        headers["content-security-policy"] = PAGE_POLICY
    return HTTPResponse(content.body, 200, headers, content.content_type)


async def _answer_head(request: AnyRequest) -> None:
    """Answer HEAD without taking a profile, so without its length."""
    response: HTTPResponse = await request.respond(headers=_HEADERS, content_type=PPROF_TYPE)
    await response.send(b"", end_stream=False)
    await response.eof()  # type: ignore[no-untyped-call]


def _answer_text(text: str | bytes) -> HTTPResponse:
    return _answer(ProfileContent(text.encode() if isinstance(text, str) else text, PLAIN))


# -- what is there ---------------------------------------------------------------------------


@_get("/")
@guard(Scope.ADMIN)
async def get_index(request: AnyRequest) -> HTTPResponse:
    """Show what can be asked for here, and what it costs."""
    return _answer_index(request)


@_get("")
@guard(Scope.ADMIN)
async def get_index_by_hand(request: AnyRequest) -> HTTPResponse:
    """Return the same index for the address without its last slash."""
    return _answer_index(request)


def _answer_index(request: AnyRequest) -> HTTPResponse:
    headers = _HEADERS | {"content-security-policy": PAGE_POLICY}
    page = put_on_document(base_path_of(request.app), PAGE.body)
    return HTTPResponse(page, 200, headers, PAGE.content_type)


@_get("/cmdline")
@guard(Scope.ADMIN)
async def get_command_line(request: AnyRequest) -> HTTPResponse:
    """Return the arguments of the process, each ended by a NUL as Go's are."""
    return _answer_text(proc.read_command_line())


# -- processor time --------------------------------------------------------------------------


@_get("/profile")
@guard(Scope.ADMIN)
@takes("seconds", "hz", "format", "debug")
async def get_profile(request: AnyRequest) -> HTTPResponse | None:
    """Sample all threads for some seconds, Python and native frames."""
    parameters = read_parameters(request.query_string, ("seconds", "hz", "format", "debug"))
    wanted = choose_format(parameters, PICTURES)
    seconds = _read_count(parameters, "seconds", SECONDS, SECONDS_MAX)
    rate_hz = _read_count(parameters, "hz", 0, py_spy.RATE_HZ_MAX)
    if request.method == "HEAD":
        await _answer_head(request)
        return None
    lifecycle = lifecycle_of(request)
    with _profile_lock.hold() as scratch:
        try:
            profile = await _sample(request, scratch, seconds, rate_hz or py_spy.RATE_HZ)
        except py_spy.SamplingRefused as refusal:
            note = f"{PYTHON_ONLY}{refusal}"
            logger.warning("%s", note, extra={"event": "profile-python-only"})
            rate_hz = rate_hz or thread_sampler.RATE_HZ
            stacks = await thread_sampler.sample_threads(seconds, rate_hz)
            profile = make_cpu_profile(stacks, note, seconds, rate_hz)
        content = await lifecycle.call(write_profile, profile, wanted)
    return _answer(content, profile.note)


async def _sample(request: AnyRequest, scratch: Path, seconds: int, rate_hz: int) -> Profile:
    path = await py_spy.sample_self(scratch, seconds, rate_hz)
    return await lifecycle_of(request).call(_read_profile, path, seconds, rate_hz)


def _read_profile(path: Path, seconds: int, rate_hz: int) -> Profile:
    stacks, _ = read_stacks(path.read_text(errors="replace"), is_lined=True)
    note = f"py-spy at {rate_hz} Hz: Python and native frames."
    return make_cpu_profile(stacks, note, seconds, rate_hz)


# -- memory ----------------------------------------------------------------------------------


@_get("/heap")
@guard(Scope.ADMIN)
@takes("seconds", "format", "debug")
async def get_heap(request: AnyRequest) -> HTTPResponse | None:
    """Return the figures of the memory; with `seconds`, what is allocated meanwhile."""
    parameters = read_parameters(request.query_string, ("seconds", "format", "debug"))
    lifecycle = lifecycle_of(request)
    if "seconds" not in parameters:
        choose_format(parameters, (TEXT,), TEXT)
        statistics = lifecycle.engine.statistics()
        return _answer_text(await lifecycle.call(heap.write_figures, statistics))
    wanted = choose_format(parameters, PICTURES)
    seconds = _read_count(parameters, "seconds", SECONDS, SECONDS_MAX)
    if request.method == "HEAD":
        await _answer_head(request)
        return None
    with _profile_lock.hold() as scratch:
        path = scratch / "heap.bin"
        await heap.watch_heap(path, seconds)
        profile = await lifecycle.call(heap.read_heap, path, seconds)
        content = await lifecycle.call(write_profile, profile, wanted)
    return _answer(content, profile.note)


# -- threads ---------------------------------------------------------------------------------


@_get("/threads")
@guard(Scope.ADMIN)
@takes("format", "debug")
async def get_threads(request: AnyRequest) -> HTTPResponse:
    """Return the stack of every thread, and where every task waits."""
    return await _dump_threads(request, (TEXT, *PICTURES))


@_get("/goroutine")
@guard(Scope.ADMIN)
@takes("format", "debug")
async def get_goroutine(request: AnyRequest) -> HTTPResponse:
    """Return the same by the name that `go tool pprof` knows, and in its format unless asked."""
    return await _dump_threads(request, (*PICTURES, TEXT))


async def _dump_threads(request: AnyRequest, formats: tuple[str, ...]) -> HTTPResponse:
    parameters = read_parameters(request.query_string, ("format", "debug"))
    wanted = choose_format(parameters, formats)
    lifecycle = lifecycle_of(request)
    dump = thread_dump.take_dump()
    if wanted == TEXT:
        return _answer_text(await lifecycle.call(thread_dump.write_dump, dump))
    profile = await lifecycle.call(thread_dump.make_dump_profile, dump)
    return _answer(await lifecycle.call(write_profile, profile, wanted), profile.note)
