"""Manifest and seals of rewritten shards, which say what their files are, after some of them were purged."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from jobs.shard import SAMPLES, SEALS
from vlp_core.data.stored import MANIFEST_FILE
from vlp_core.files import write_text
from vlp_core.identity import canonical_json, sha256_of_file


def purge_manifest(folder: Path) -> None:
    """Let manifest and seals say what the shards are now."""
    for seal in sorted((folder / SEALS).glob("*.json")):
        said = json.loads(seal.read_text())
        said |= {name: sha256_of_file(folder / name) for name in said if name != SAMPLES}
        write_text(seal, canonical_json(said) + "\n")
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    for shard in manifest["shards"]:
        stem = shard["name"].partition(".")[0]
        count = pq.read_metadata(folder / f"{stem}_index.parquet").num_rows
        shard |= {"count": count, "sha256": sha256_of_file(folder / shard["name"])}
    write_text(folder / MANIFEST_FILE, canonical_json(manifest) + "\n")
