"""One place where all commands of the pages are run, so that a command may use what an earlier one made."""

from collections.abc import Iterator

import pytest

from tests.docs.place import Place, opened


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with opened(tmp_path_factory.mktemp("docs")) as found:
        yield found
