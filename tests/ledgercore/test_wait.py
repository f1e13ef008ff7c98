"""src/wait.h, in programs of its own: waits with a bound, and the check of who holds a mutex."""

import signal
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.support.servers import ROOT

PROGRAM = """
#include "wait.h"

static pthread_mutex_t mutex;
static pthread_cond_t condition;

static void *check(void *nothing)
{
    lc_mutex_assert_not_held(&mutex);
    return nothing;
}

int main(void)
{
    lc_mutex_start(&mutex);
    lc_condition_start(&condition);
    %s
}
"""
SHARED = """
    pthread_t thread;
    pthread_mutex_lock(&mutex);
    pthread_create(&thread, NULL, check, NULL);
    pthread_mutex_unlock(&mutex);
    return pthread_join(thread, NULL);
"""


def run(folder: Path, body: str, *flags: str) -> int:
    """Compile a program around some lines, run it, and return how it ended."""
    source, program = folder / "program.c", folder / "program"
    source.write_text(PROGRAM % body)
    compiler = sysconfig.get_config_var("CC").split()[0]
    words = ["-std=gnu11", "-pthread", f"-I{ROOT / 'src'}", *flags, "-o", str(program), str(source)]
    subprocess.run([compiler, *words], check=True)
    ended = subprocess.run([program], stderr=subprocess.DEVNULL, timeout=60, check=False, env={})
    return ended.returncode


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("lc_mutex_assert_not_held(&mutex); lc_mutex_assert_not_held(&mutex);", 0),
        ("pthread_mutex_lock(&mutex); lc_mutex_assert_not_held(&mutex);", -signal.SIGABRT),
        # Another thread may hold it: this one waits, as it would anywhere.
        (SHARED, 0),
    ],
)
def test_a_debug_build_knows_who_holds_a_mutex(tmp_path: Path, body: str, code: int) -> None:
    assert run(tmp_path, body, "-DLC_DEBUG=1") == code


def test_another_build_does_not_look(tmp_path: Path) -> None:
    assert run(tmp_path, "pthread_mutex_lock(&mutex); lc_mutex_assert_not_held(&mutex);") == 0


def test_a_wait_ends_with_its_time_and_not_before(tmp_path: Path) -> None:
    body = """
    int64_t begun_ns = lc_monotonic_ns();
    pthread_mutex_lock(&mutex);
    while (lc_condition_wait(&condition, &mutex, 30)) {}
    return lc_monotonic_ns() - begun_ns < 30 * 1000000;
    """
    assert run(tmp_path, body) == 0
