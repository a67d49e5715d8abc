"""What a root knows of what is to be taken down."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.known import Known, bodies_of
from tests.jobs.refreshing import World, contents
from vlp_core.data.takedowns import Takedowns
from vlp_core.identity import sha256_of, uid_of


def test_of_the_hosts_of_a_list_those_that_are_named_are_kept(tmp_path: Path) -> None:
    urls = ["http://" + "a." * 100 + "down.test/1.jpg", "http://down.test/2.jpg", "http://up.test/3.jpg"]
    pq.write_table(pa.table({"uid": [uid_of(url) for url in urls], "url": urls}), tmp_path / "00000.parquet")
    named = pa.table(
        {"kind": ["host", "url"], "value": ["down.test", urls[1]], "key": ["down.test", "down.test/2.jpg"]}
    )
    known = Known(down=Takedowns.of(named))
    known.look(tmp_path)
    assert known.has(named) == [True, True]
    assert (known.hosts, known.urls) == ({"down.test"}, {"down.test/2.jpg"})


def test_pictures_that_are_stored_alike_are_found_by_each_of_their_bodies(cluster: str, tmp_path: Path) -> None:
    """Bodies may differ in a comment alone, and one of them may be stored as it came."""
    world = World(tmp_path)
    with world.site:
        world.pictures(0, 2)
        body = world.says["0.jpg"]
        world.says["1.jpg"] = body[:2] + b"\xff\xfe\x00\x09another" + body[2:]
        release = world.refresh({f"{number}.jpg": "of it" for number in range(3)})
    stored = {path: digest for path, (digest, _) in contents(release).items()}
    bodies = {path: sha256_of(body) for path, body in world.says.items()}
    assert stored["0.jpg"] == stored["1.jpg"] == bodies["0.jpg"] != bodies["1.jpg"]
    both = {stored["0.jpg"]: {bodies["0.jpg"], bodies["1.jpg"]}}
    assert bodies_of([release.path], frozenset(both)) == both
    nobodys = "0" * 64
    assert bodies_of([release.path], frozenset({*both, nobodys})) == both


def test_a_body_that_is_stored_smaller_is_found_where_another_is_stored_as_it(cluster: str, tmp_path: Path) -> None:
    """Two data sets of the same photo: one keeps it small, the other as large as it came."""
    world = World(tmp_path)
    with world.site:
        world.pictures(0)
        body = world.says["0.jpg"]
        small = world.refresh({"0.jpg": "of it"}, into="small", image_size=32)
        world.says["0.jpg"] = body[:2] + b"\xff\xfe\x00\x09another" + body[2:]
        large = world.refresh({"0.jpg": "of it"}, into="large")
    other = {sha256_of(world.says["0.jpg"])}
    assert bodies_of([small.path, large.path], frozenset({sha256_of(body)})) == {sha256_of(body): other}
