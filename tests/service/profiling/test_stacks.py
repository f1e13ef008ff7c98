"""Stacks of py-spy: read, named as in the sources, and cleaned of what tells nothing."""

import pytest

from ledgercore.service.profiling.flame_graph import Panel, draw_flame
from ledgercore.service.profiling.stacks import (
    FRAMES_MAX,
    ROOT,
    Frame,
    Kind,
    count_kinds,
    demangle,
    fold,
    merge_lines,
    read_frame,
    read_stacks,
    read_thread_names,
    shorten_path,
)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("__pyx_f_10ledgercore_6ledger_6Ledger_apply", "Ledger.apply"),
        ("__pyx_f_10ledgercore_6ledger_6Ledger_apply_once", "Ledger.apply_once"),
        ("__pyx_pw_10ledgercore_8pipeline_8Pipeline_5run_worker", "Pipeline.run_worker"),
        ("__pyx_f_10ledgercore_6ledger_start_transfer", "ledger.start_transfer"),
        ("__pyx_tp_new_9httptools_6parser_10url_parser_URL", "url_parser.URL"),
        ("Pipeline_write_groups", "Pipeline.write_groups"),
        ("UVStream__exec_write", "UVStream._exec_write"),
        ("Loop__Loop__run", "Loop.__run"),
        ("lc_queue_pop", "lc_queue_pop"),
        ("run_worker", "run_worker"),
    ],
)
def test_names_are_those_of_the_sources(name: str, source: str) -> None:
    assert demangle(name) == source


LIBRARIES = "/opt/venv/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        (
            f"post_transfer ({ROOT}/service/routes.py:63)",
            Frame("post_transfer", "service/routes.py", Kind.HANDLERS),
        ),
        (
            "Ledger_apply (ledgercore/ledger.pyx:284)",
            Frame("Ledger.apply", "ledgercore/ledger.pyx", Kind.ENGINE),
        ),
        (
            f"lc_queue_pop ({ROOT}/src/queue.h:68)",
            Frame("lc_queue_pop", "src/queue.h", Kind.ENGINE),
        ),
        (
            f"Http.http1 ({LIBRARIES}/sanic/http/http1.py:123)",
            Frame("Http.http1", "sanic/http/http1.py", Kind.LIBRARY),
        ),
        (
            "handle_request (handle_request:99)",
            Frame("handle_request", "handle_request", Kind.LIBRARY),
        ),
        (
            "f.<locals>.<genexpr> (handle_request:9)",
            Frame("f.<locals>.<genexpr>", "handle_request", Kind.LIBRARY),
        ),
        (
            "Handle__run (/project/uvloop/loop.c:70959)",
            Frame("Handle._run", "uvloop/loop.c", Kind.LOOP),
        ),
        (
            "uv__read (/project/build/libuv-x86_64/src/unix/stream.c:1154)",
            Frame("uv__read", "libuv-x86_64/src/unix/stream.c", Kind.LOOP),
        ),
        (
            "Py_DECREF (/opt/_internal/include/python3.11/object.h:537)",
            Frame("Py_DECREF", "python3.11/object.h", Kind.RUNTIME),
        ),
        (
            "0x7f2387e4524a (/usr/lib/x86_64-linux-gnu/libc.so.6)",
            Frame("libc", "x86_64-linux-gnu/libc.so.6", Kind.SYSTEM),
        ),
        ("odd", Frame("odd", "", Kind.RUNTIME)),
    ],
)
def test_a_frame_says_whose_code_it_is(text: str, frame: Frame) -> None:
    assert read_frame(text) == frame


def test_a_path_loses_what_is_of_one_machine() -> None:
    assert shorten_path("/opt/py/lib/python3.11/asyncio/locks.py") == "asyncio/locks.py"
    assert shorten_path("/build/x/Python-3.11.7/Modules/_asynciomodule.c") == (
        "Modules/_asynciomodule.c"
    )


RAW = f"""\
thread (7): MainThread;0x12 (/lib/libc.so.6);_run_code (<frozen runpy>:88);serve \
({ROOT}/service/cli/serve.py:104);run_forever (/project/uvloop/loop.c:1);uv_run (/project/build/\
libuv-x86_64/src/unix/core.c:4);Py_DECREF (/opt/include/object.h:537);post_transfer \
({ROOT}/service/routes.py:62);add (ledgercore/submission.pyx:67);add (ledgercore/submission.pyx:69)\
;lc_index_find ({ROOT}/src/index.h:30);lc_index_matches ({ROOT}/src/index.h:21) 3
thread (7): MainThread;serve ({ROOT}/service/cli/serve.py:104);uv_run (/project/build/libuv-x86_64/\
src/unix/core.c:9);write (/lib/libc.so.6) 2
thread (8): journal;Thread.run (/opt/lib/python3.11/threading.py:982);run_journal \
(ledgercore/pipeline.pyx:205);lc_sync_data ({ROOT}/src/file.h:39);fdatasync (/lib/libc.so.6) 4
thread (8): journal;run_journal (ledgercore/pipeline.pyx:205);pthread_cond_wait (/lib/libc.so.6);\
0x7f (/lib/libc.so.6) 50
thread (9): housekeeper;pthread_cond_wait (/lib/libc.so.6) 1
"""


def test_stacks_are_cleaned_and_folded() -> None:
    stacks, waits = read_stacks(RAW)
    assert waits == 51
    assert [line.split(";") for line in fold(stacks)] == [
        [
            "MainThread",
            "uv_run (libuv-x86_64/src/unix/core.c)",
            "post_transfer (service/routes.py)",
            "add (ledgercore/submission.pyx)",
            "lc_index_find (src/index.h)",
            "lc_index_matches (src/index.h) 3",
        ],
        ["MainThread", "uv_run (libuv-x86_64/src/unix/core.c)", "write (lib/libc.so.6) 2"],
        [
            "journal",
            "run_journal (ledgercore/pipeline.pyx)",
            "lc_sync_data (src/file.h)",
            "fdatasync (lib/libc.so.6) 4",
        ],
    ]
    assert count_kinds(stacks["MainThread"]) == {Kind.ENGINE: 3, Kind.SYSTEM: 2}
    assert read_thread_names(RAW) == {"7": "MainThread", "8": "journal", "9": "housekeeper"}


def test_lines_are_kept_where_they_are_wanted() -> None:
    stacks, _ = read_stacks(RAW, is_lined=True)
    (first,) = [stack for stack in stacks["MainThread"] if stack[-1].file == "src/index.h"]
    # A function that is on the stack twice in a row stands there once, with its inner line.
    assert [(frame.name, frame.line) for frame in first[1:]] == [
        ("post_transfer", 62),
        ("add", 69),
        ("lc_index_find", 30),
        ("lc_index_matches", 21),
    ]
    assert merge_lines(stacks) == read_stacks(RAW)[0]


def test_stacks_that_differ_in_a_line_are_one_without_lines() -> None:
    raw = "thread (7): a;f (x.py:1) 2\nthread (7): a;f (x.py:2) 3\n"
    stacks, _ = read_stacks(raw, is_lined=True)
    frames = [Frame("f", "x.py", Kind.LIBRARY, line) for line in (1, 2)]
    assert stacks == {"a": {(frames[0],): 2, (frames[1],): 3}}
    assert list(fold(merge_lines(stacks))) == ["a;f (x.py) 5"]


def test_a_stack_without_end_is_cut_and_can_be_drawn() -> None:
    frames = ";".join(f"function_{n} (service/a{n}.py)" for n in range(5_000))
    stacks, _ = read_stacks(f"thread (0x1): MainThread;{frames} 3\n")
    ((stack, count),) = stacks["MainThread"].items()
    assert (len(stack), count, stack[-1].name) == (FRAMES_MAX, 3, "function_4999")
    panel = Panel("MainThread", stacks["MainThread"])
    assert "function_4999" in draw_flame("title", (), (panel,))
