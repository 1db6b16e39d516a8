"""pyproject.toml, constraints.txt, environment.yml, course.py and the workflow tell one story."""

import ast
import re
import sys
import tomllib
import zipfile
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
REQUIREMENTS = [
    Requirement(text)
    for group in (PYPROJECT["project"]["dependencies"], *PYPROJECT["project"]["optional-dependencies"].values())
    for text in group
]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = ({"sys_platform": "linux", "os_name": "posix"}, {"sys_platform": "win32", "os_name": "nt"})
CONFIGURATION = [
    "pyproject.toml",
    "constraints.txt",
    "environment.yml",
    "course.py",
    ".ci/run",
    ".github/workflows/ci.yml",
    ".pre-commit-config.yaml",
]


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pinned_version(name: str, python: str, system: dict[str, str]) -> str | None:
    """The version pinned for one Python on one system."""
    environment = {"python_version": python, "python_full_version": f"{python}.9", **system}
    for pin in pins():
        if canonicalize_name(pin.name) == canonicalize_name(name) and (
            pin.marker is None or Marker(str(pin.marker)).evaluate(environment)
        ):
            return str(pin.specifier).removeprefix("==")
    return None


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_every_requirement_is_pinned_within_its_range(requirement: Requirement) -> None:
    for python in PYTHONS:
        for system in SYSTEMS:
            pin = pinned_version(requirement.name, python, system)
            assert pin is not None, f"{requirement.name} has no pin for Python {python} on {system['sys_platform']}"
            assert requirement.specifier.contains(pin, prereleases=True), f"pin {pin} is outside {requirement}"


def test_every_line_of_the_constraints_is_one_exact_public_version() -> None:
    for pin in pins():
        assert re.fullmatch(r"==[0-9][0-9A-Za-z.!]*", str(pin.specifier)), f"{pin}: not one exact public version"
        assert pin.url is None
        assert not pin.extras


def test_constraints_leave_the_build_of_torch_to_the_learner() -> None:
    names = [canonicalize_name(pin.name) for pin in pins()]
    assert [name for name in names if name.startswith(("nvidia-", "cuda-", "triton"))] == []
    assert pinned_version("torch", "3.11", SYSTEMS[0]) == "2.13.0"


def test_constraints_say_how_they_are_made() -> None:
    header = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[:2]
    assert PYPROJECT["tool"]["uv"]["pip"]["custom-compile-command"] in "\n".join(header)


@pytest.mark.parametrize(
    "requirement",
    [one for one in REQUIREMENTS if str(one) not in PYPROJECT["project"]["optional-dependencies"]["bench"]],
    ids=lambda requirement: requirement.name,
)
def test_this_environment_has_the_pinned_versions(requirement: Requirement) -> None:
    python = "{}.{}".format(*sys.version_info[:2])
    system = SYSTEMS[1] if sys.platform == "win32" else {"sys_platform": sys.platform, "os_name": "posix"}
    public = installed_version(requirement.name).partition("+")[0]  # torch's builds: 2.13.0+cpu
    assert public == pinned_version(requirement.name, python, system)


def test_conda_gives_python_and_pip_and_the_pinned_list_the_rest() -> None:
    from_conda = [entry for entry in CONDA["dependencies"] if isinstance(entry, str)]
    from_pip = [entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict)]
    assert [re.split(r"[=<>]", entry)[0] for entry in from_conda] == ["python", "pip"]
    assert from_pip == [["-c constraints.txt", "-e .[test]"]]
    assert CONDA["name"] == PYPROJECT["project"]["name"]


def test_course_py_installs_what_environment_yml_installs() -> None:
    source = (ROOT / "course.py").read_text(encoding="utf-8")
    assert '"-c", "constraints.txt", "-e", ".[test]"' in source


def test_everyone_agrees_on_the_version_of_python() -> None:
    requires = SpecifierSet(PYPROJECT["project"]["requires-python"])
    tree = ast.parse((ROOT / "course.py").read_text(encoding="utf-8"))
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and "PYTHON" in node.targets[0].id
    }
    lowest = "{}.{}".format(*constants["MINIMUM_PYTHON"])
    assert str(requires) == f">={lowest}"
    assert PYPROJECT["tool"]["uv"]["pip"]["python-version"] == lowest
    assert PYPROJECT["tool"]["mypy"]["python_version"] == lowest
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + lowest.replace(".", "")
    assert "{}.{}".format(*constants["NEWEST_TRIED_PYTHON"]) == PYTHONS[-1]
    conda_python = next(entry for entry in CONDA["dependencies"] if str(entry).startswith("python"))
    assert requires.contains(conda_python.removeprefix("python="))
    in_workflow = re.findall(r'python-version: "([0-9.]+)"', WORKFLOW)
    assert in_workflow
    assert all(requires.contains(python) for python in in_workflow)


@pytest.mark.parametrize("name", CONFIGURATION)
def test_no_host_and_no_machine_path_in_the_configuration(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert re.findall(r"\b(?:https?|file|ftp)://\S+|\b[\w-]+\.(?:org|com|net|io|dev)\b", text) == []
    assert re.findall(r"(?<![\w.])/(?:work|root|opt|home|Users)/\S*", text) == []


def test_wheel_carries_the_package_its_scripts_and_the_lessons(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    built = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    names = set(zipfile.ZipFile(built).namelist())
    expected = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("kdlab/**/*.py")}
    expected |= {path.relative_to(ROOT).as_posix() for path in ROOT.glob("kdlab/*/static/**/*.[jc]s*")}
    expected |= {"kdlab/jupyter/labconfig/page_config.json"}
    expected |= {f"kdlab/_lessons/{path.name}" for path in ROOT.glob("notebooks/*.ipynb")}
    expected |= {f"kdlab/_results/{path.name}" for path in ROOT.glob("data/results/*.json")}
    expected |= {f"kdlab/_exercises/{path.name}" for path in ROOT.glob("data/exercises/*.yaml")}
    assert expected - names == set()
    strays = [name for name in names if not name.startswith(("kdlab/", "kdlab-"))]
    assert strays == []


def test_editable_wheel_points_at_the_checkout_and_copies_nothing(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    built = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["editable"]))
    with zipfile.ZipFile(built) as wheel:
        assert wheel.read("_kdlab.pth").decode().strip() == str(ROOT)
        assert [name for name in wheel.namelist() if "/" in name and "dist-info" not in name] == []
