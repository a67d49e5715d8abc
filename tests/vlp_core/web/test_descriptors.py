import resource

import pytest

from vlp_core.web.descriptors import connections_for


@pytest.mark.parametrize(("wanted", "most"), [(100, 100), (10**9, 10**6)])
def test_as_many_connections_are_opened_as_the_process_may_have_descriptors(wanted: int, most: int) -> None:
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard < 600:
        pytest.skip("needs a limit to try")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        connections = connections_for(wanted)
        assert 100 <= connections <= most
        assert 3 * connections < resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
