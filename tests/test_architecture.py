"""The shape of the code that linters cannot hold; the layers themselves are in pyproject.toml."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
MODULES = sorted(SOURCE.rglob("*.py"))

# What reaches out of the process, and the one package that may do so.
DOORS = {
    "ctypes": "holdall.system",
    "fcntl": "holdall.system",
    "pty": "holdall.system",
    "subprocess": "holdall.system",
    "ftplib": "holdall.delivery",
    "http": "holdall.delivery",
    "socket": "holdall.delivery",
    "ssl": "holdall.delivery",
    "urllib.error": "holdall.delivery",
    "urllib.request": "holdall.delivery",
}
STARTERS = ("exec", "fork", "popen", "posix_spawn", "spawn", "system")
LARGEST_PORT = 5


@pytest.fixture(autouse=True)
def isolated_home() -> None:
    """None: modules are read here, not run."""


def name_of(module: Path) -> str:
    parts = module.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def is_port(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).split("[")[0].endswith("Protocol") for base in node.bases)


@pytest.fixture(params=MODULES, ids=name_of)
def module(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


@pytest.fixture
def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"), str(module))


def test_only_its_own_package_opens_a_door_to_the_outside(module: Path, tree: ast.Module) -> None:
    name = name_of(module)
    opened = {
        imported
        for imported in imports(tree)
        for door, package in DOORS.items()
        if within(imported, door) and not within(name, package)
    }
    assert not opened


def test_only_system_starts_processes(module: Path, tree: ast.Module) -> None:
    if within(name_of(module), "holdall.system"):
        return
    starting = tuple(f"os.{name}" for name in STARTERS)
    assert not [called for called in calls(tree) if called.startswith(starting)]


def test_only_the_command_line_prints(module: Path, tree: ast.Module) -> None:
    if within(name_of(module), "holdall.cli"):
        return
    printing = {"print", "sys.stdout.write", "sys.stderr.write", "sys.exit"}
    assert not printing.intersection(calls(tree))


def test_a_port_has_few_methods(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and is_port(node):
            methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
            assert len(methods) <= LARGEST_PORT, node.name


def test_a_module_is_named_for_what_it_holds(module: Path) -> None:
    assert not {"utils", "util", "helpers", "manager", "misc", "common"}.intersection(
        name_of(module).split(".")
    )
