"""What a root knows of what is to be taken down."""

from pathlib import Path

from jobs.known import bodies_of
from tests.jobs.refreshing import World, contents
from vlp_core.identity import sha256_of


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
