"""Each kind of page over real HTTP."""

import http.client
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from vlp_core.errors import UserError
from vlp_core.miniature.server import serve
from vlp_core.miniature.weave import Web
from vlp_core.miniature.web import DEAD_STATUSES, DELAY, FORBIDDEN_ADDRESS, OPT_IN, OPT_OUTS, Page, write_web


@pytest.fixture(scope="module")
def folder(web: Web, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    write_web(folder, web.pages)
    return folder


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    with serve(folder) as address:
        yield address


def ask(address: str, url: str) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", parts.path, headers={"Host": parts.netloc})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def of_kind(web: Web, kind: str) -> list[Page]:
    urls = {row.url for row in web.rows if row.kind == kind}
    return [page for page in web.pages if page.url in urls]


@pytest.mark.parametrize(
    "kind", ["good", "exact", "near", "tiny", "leak", "filename", "boilerplate", "wrong", "foreign"]
)
def test_pictures_come_as_they_were_drawn(web: Web, address: str, kind: str) -> None:
    for page in of_kind(web, kind)[:5]:
        status, headers, body = ask(address, page.url)
        assert (status, headers["Content-Type"], body) == (200, "image/jpeg", page.body)


def test_dead_links_stay_dead(web: Web, address: str) -> None:
    pages = of_kind(web, "dead")
    for _ in range(2):
        assert {ask(address, page.url)[0] for page in pages} == set(DEAD_STATUSES)


def test_html_comes_under_a_pictures_name(web: Web, address: str) -> None:
    status, _, body = ask(address, of_kind(web, "html")[0].url)
    assert status == 200
    assert b"<html" in body


def test_opt_outs_stand_in_the_headers(web: Web, address: str) -> None:
    said = {ask(address, page.url)[1].get("X-Robots-Tag") for page in of_kind(web, "optout")}
    assert said == set(OPT_OUTS)
    assert {ask(address, page.url)[1].get("X-Robots-Tag") for page in of_kind(web, "good")} == {None, OPT_IN}


def test_the_slow_host_takes_its_time_and_holds_nobody_else_up(web: Web, address: str) -> None:
    """Whoever asks it first has its answer last."""
    slow, good = of_kind(web, "slow")[0], of_kind(web, "good")[0]
    answered: list[tuple[str, int]] = []
    thread = threading.Thread(target=lambda: answered.append(("slow", ask(address, slow.url)[0])))
    thread.start()
    answered.append(("good", ask(address, good.url)[0]))
    thread.join()
    assert answered == [("good", 200), ("slow", 200)]
    assert (slow.delay, good.delay) == (DELAY, 0)


def test_the_flaky_host_refuses_each_url_once_in_a_servers_life(web: Web, folder: Path) -> None:
    page = of_kind(web, "flaky")[0]
    for _ in range(2):
        with serve(folder) as address:
            status, headers, _ = ask(address, page.url)
            assert status == 503
            assert float(headers["Retry-After"]) <= 1
            assert [ask(address, page.url)[0] for _ in range(2)] == [200, 200]


def test_redirects_lead_to_a_picture_or_into_the_network(web: Web, address: str) -> None:
    status, headers, _ = ask(address, of_kind(web, "redirect")[0].url)
    assert status == 302
    assert ask(address, headers["Location"])[0] == 200
    status, headers, _ = ask(address, of_kind(web, "hostile")[0].url)
    assert (status, headers["Location"]) == (302, FORBIDDEN_ADDRESS)


def test_the_host_is_part_of_the_address(web: Web, address: str) -> None:
    path = urlsplit(of_kind(web, "good")[0].url).path
    assert ask(address, f"http://elsewhere.test{path}")[0] == 404


def test_nothing_is_left_when_the_block_ends(folder: Path) -> None:
    before = threading.active_count()
    with serve(folder) as address:
        host, port = address.split(":")
        assert host == "127.0.0.1"
    assert threading.active_count() == before
    with pytest.raises(OSError):
        ask(f"{host}:{port}", "http://photos.test/")


def test_a_folder_without_a_web_and_a_taken_port_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"web\.parquet"), serve(tmp_path):
        pass
    with serve(folder) as address:
        port = int(address.split(":")[1])
        with pytest.raises(UserError, match=str(port)), serve(folder, port):
            pass


def test_by_hand_it_stops_by_itself(folder: Path) -> None:
    command = [sys.executable, "-m", "vlp_core.miniature", str(folder), "--seconds", "0.2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "*.test=127.0.0.1:" in done.stdout
