"""The tests ask a real daemon, which tests/e2e/test_python.sh starts and fills; $MODELMAP_TEST_SOCKET says where. Without it
only those run that need none."""

import os

import pytest

import modelmap


@pytest.fixture
def endpoint():
    url = os.environ.get("MODELMAP_TEST_SOCKET")
    if not url:
        pytest.skip("no daemon: set MODELMAP_TEST_SOCKET")
    return url


@pytest.fixture
def m(endpoint):
    with modelmap.Client(endpoint, timeout=60) as c:
        yield c
