"""A mesh for each test module that asks for one."""

from collections.abc import Callable, Iterator

import pytest

from mesh import Mesh


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    item.failed = getattr(item, "failed", False) or report.failed


@pytest.fixture
def make_mesh(request: pytest.FixtureRequest) -> Iterator[Callable[..., Mesh]]:
    """Starts meshes that are stopped after the test, whatever happens."""
    made: list[Mesh] = []

    def make(nodes: int = 3, **settings: str) -> Mesh:
        mesh = Mesh(nodes, {key.replace("__", "."): value for key, value in settings.items()})
        made.append(mesh)
        return mesh

    yield make
    failed = getattr(request.node, "failed", False)
    for mesh in made:
        if failed:
            for log in sorted(mesh.folder.glob("node-*.log")):
                print(f"{log.name}:\n" + "\n".join(log.read_text().splitlines()[-15:]))
        mesh.stop(keep=failed)
