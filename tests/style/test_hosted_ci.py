"""The files of hosted CI and pre-commit, which cannot run here: what they name is there."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.servers import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in FILES}
JOBS = [(name, job) for name, flow in WORKFLOWS.items() for job in flow["jobs"]]
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.M))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+\n")
# The images of GitHub by the machine that they are.
MACHINES = {"ubuntu-24.04": "x86_64", "ubuntu-24.04-arm": "aarch64"}


def read_versions() -> list[str]:
    """Return the CPythons that the core is tested on, as run_pythons.sh has them."""
    text = next((ROOT / "tests").rglob("run_pythons.sh")).read_text()
    found = re.search(r"^VERSIONS='([\d. ]+)'$", text, re.M)
    assert found
    return found[1].split()


def run_steps(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def complain(name: str, flow: dict[Any, Any]) -> Iterator[str]:
    """Yield what GitHub would refuse of a workflow, and what it would do for ever."""
    # YAML reads the name `on` as the value true.
    if not flow.keys() >= {"name", True, "jobs"}:
        yield f"{name} lacks a name, an occasion or jobs"
    for id, job in flow["jobs"].items():
        where = f"{name}: {id}"
        if not job.keys() >= {"runs-on", "timeout-minutes", "steps"}:
            yield f"{where} lacks a machine, a time or steps"
        needs = set(job.get("needs", []))
        yield from (f"{where} needs {other}" for other in needs - flow["jobs"].keys())
        matrix = job.get("strategy", {}).get("matrix", {})
        for used in re.findall(r"\$\{\{ matrix\.(\w+) \}\}", str(job)):
            if used not in matrix:
                yield f"{where} has no {used} in its matrix"
        machines = matrix.get("machine", [job.get("runs-on")])
        yield from (f"{where} runs on {one}" for one in machines if one not in MACHINES)
        for step in job.get("steps", []):
            if len({"uses", "run"} & step.keys()) != 1:
                yield f"{where} has a step with both or none of uses and run"
        for command in run_steps(job):
            targets = command.split()[1:] if command.startswith("make ") else []
            yield from (f"{where} makes {target}" for target in set(targets) - TARGETS)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_is_whole(name: str) -> None:
    assert list(complain(name, WORKFLOWS[name])) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"runs-on": "ubuntu-latest"}, "w: a runs on ubuntu-latest"),
        ({"timeout-minutes": None}, "w: a lacks a machine, a time or steps"),
        ({"needs": ["b"]}, "w: a needs b"),
        ({"steps": [{"run": "make nothing"}]}, "w: a makes nothing"),
        ({"steps": [{"name": "nothing"}]}, "w: a has a step with both or none of uses and run"),
        ({"steps": [{"run": "${{ matrix.python }}"}]}, "w: a has no python in its matrix"),
    ],
)
def test_a_workflow_can_be_wrong(change: dict[str, Any], fault: str) -> None:
    job = {"runs-on": "ubuntu-24.04", "timeout-minutes": 1, "steps": [{"run": "make lint"}]}
    changed = {key: value for key, value in (job | change).items() if value is not None}
    right = {"name": "w", True: {}, "jobs": {"a": job}}
    assert list(complain("w", right)) == []
    assert list(complain("w", right | {"jobs": {"a": changed}})) == [fault]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_commit(path: Path) -> None:
    text = path.read_text()
    assert text.count("uses:") == len(PINNED.findall(text)) > 0


def test_the_commands_of_ci_run_are_run_there_too() -> None:
    here = set(re.findall(r"make ([\w-]+)", (ROOT / ".ci" / "run").read_text()))
    there = {
        run.split()[1] for job in WORKFLOWS["ci.yml"]["jobs"].values() for run in run_steps(job)
    }
    # The other CPythons have jobs of their own there, with all tests and not the core's alone.
    assert here - {"pythons"} <= there


def test_tests_and_wheels_are_for_every_python_and_machine() -> None:
    versions = read_versions()
    assert PROJECT["project"]["requires-python"] == f">={versions[0]}"
    matrix = WORKFLOWS["ci.yml"]["jobs"]["test"]["strategy"]["matrix"]
    assert matrix == {"python": versions, "machine": list(MACHINES)}
    wheels = WORKFLOWS["wheels.yml"]["jobs"]["wheels"]
    assert wheels["strategy"]["matrix"] == {"machine": list(MACHINES)}


@pytest.mark.parametrize("machine", MACHINES.values())
def test_the_wheels_are_those_of_glibc_and_of_musl(machine: str) -> None:
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers"]
    told = subprocess.run(
        [*command, "--platform=linux", f"--archs={machine}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(told.stdout.split()) == {
        f"cp{version.replace('.', '')}-{libc}_{machine}"
        for version in read_versions()
        for libc in ("manylinux", "musllinux")
    }


def test_each_wheel_is_tried_as_the_one_that_is_made_here() -> None:
    command = PROJECT["tool"]["cibuildwheel"]["test-command"]
    script = command.removeprefix("python {project}/")
    assert (ROOT / script).is_file()
    assert f'"$$OLDPWD"/{script}' in MAKEFILE


def test_only_a_tag_is_published_and_only_that_job_may() -> None:
    for flow in WORKFLOWS.values():
        assert flow["permissions"] == {"contents": "read"}
    may = [job for name, job in JOBS if "permissions" in WORKFLOWS[name]["jobs"][job]]
    assert may == ["publish"]
    publish = WORKFLOWS["wheels.yml"]["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert set(publish["needs"]) == WORKFLOWS["wheels.yml"]["jobs"].keys() - {"publish"}


def test_pre_commit_runs_the_parts_of_make_lint() -> None:
    found = re.search(r"^lint: ([a-z -]+) ##", MAKEFILE, re.M)
    assert found
    (repository,) = HOOKS
    assert repository["repo"] == "local"
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert entries == [f"make --silent {part}" for part in found[1].split()]
    for hook in repository["hooks"]:
        assert hook["language"] == "system" and hook["pass_filenames"] is False
