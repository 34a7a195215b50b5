# SPDX-License-Identifier: MIT
"""What every end-to-end test shares."""
import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def aqueduct():
    """The program under test: AQUEDUCT_BIN, or the test build's."""
    path = pathlib.Path(os.environ.get("AQUEDUCT_BIN", ROOT / "build/test/aqueduct")).resolve()
    if not path.is_file():
        pytest.fail(f"{path} is not there: build it or set AQUEDUCT_BIN")
    return str(path)
