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
