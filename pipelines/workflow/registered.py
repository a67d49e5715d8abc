"""Names of the registry, models:/NAME@ALIAS or models:/NAME/VERSION, wherever settings take a model: they stand for the
folder that was registered. And names of releases, releases:NAME@N, wherever they take data."""

import contextlib
import dataclasses
import logging
import re
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipelines.workflow.environment import environment_kept, prepare_environment
from pipelines.workflow.released import is_named, released_folder
from pipelines.workflow.tracking import store_of
from vlp_core.errors import UserError, first_line, public_text
from vlp_core.files import locked
from vlp_core.identity import digest_of
from vlp_core.settings import PATH_OR_NAME
from vlp_core.uris import knock

SCHEME = "models:/"
DOWNLOADED = ".models"
_NAMED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_INSIDE = re.compile(rf"(?P<before>.*?)(?P<uri>{SCHEME}.*)", re.DOTALL)


def resolved(config: Any, root: Path, *, whole: bool = False) -> Any:
    """The settings with folders in place of names of the registry and of releases, at any depth.

    `root` is the folder of results, whose own releases are meant (with `whole`, every file of them is read and
    compared), and whose own registry is asked where no server is named. UserError for a name that is not there.
    """
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return config
    changed = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        named = field.metadata.get(PATH_OR_NAME)
        new = _folders(value, root, whole) if named else resolved(value, root, whole=whole)
        if new is not value:
            changed[field.name] = new
    return dataclasses.replace(config, **changed) if changed else config


def _folders(value: Any, root: Path, whole: bool) -> Any:
    if isinstance(value, tuple):
        found = tuple(_folders(item, root, whole) for item in value)
        return value if found == value else found
    if isinstance(value, str | Path) and is_named(value):
        return type(value)(released_folder(str(value), root, whole=whole))
    inside = _INSIDE.fullmatch(value) if isinstance(value, str) else None
    return value if inside is None else f"{inside['before']}{registered_folder(inside['uri'], root)}"


def registered_folder(uri: str, root: Path) -> Path:
    """The model folder or open_clip export of a registered version: where the registry keeps it on a disk of this
    machine, else fetched once into the root."""
    named = _NAMED.fullmatch(uri)
    if named is None:
        raise UserError(f"{uri}: names no registered model; write models:/NAME@champion or models:/NAME/VERSION")
    store = store_of(root)
    place = public_text(store)
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).exists():
        raise UserError(f"{uri}: nothing is registered yet at {place}; train a model first, or give a folder")
    try:
        knock(store)
    except (OSError, ValueError) as error:
        raise UserError(f"{uri}: no MLflow server answers at {place} ({error}); start it or give a folder") from error
    prepare_environment()
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        with locked(root / ".mlflow.lock"), environment_kept("MLFLOW_TRACKING_URI"):  # tables of an older store change
            location, key = _located(named, store)
        folder = _on_disk(location, key, store, root)
    except (MlflowException, RequestException) as error:
        raise UserError(
            f"{uri}: not to be had from the registry at {place} ({first_line(error)}); check name, alias and version"
        ) from error
    from vlp_core.model_folder import CONFIG_FILE, EXPORT_CONFIG  # with torch, which other plans do without

    found = sorted([*folder.rglob(EXPORT_CONFIG), *folder.rglob(CONFIG_FILE)])
    if not found:
        raise UserError(
            f"{uri}: holds no export of a pipeline of this kind; give the folder or the file of its weights"
        )
    return found[0].parent


def _located(named: re.Match[str], store: str) -> tuple[str, str]:
    """Where a version's files are, and what no other version is called."""
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    client = mlflow.MlflowClient(store)
    if named["alias"]:
        version = client.get_model_version_by_alias(named["name"], named["alias"])
    else:
        version = client.get_model_version(named["name"], named["version"])
    if version.model_id:
        return client.get_logged_model(version.model_id).artifact_location, version.model_id
    key = digest_of([store, version.name, str(version.version), version.creation_timestamp])[:20]
    return client.get_model_version_download_uri(version.name, str(version.version)), key


def _on_disk(location: str, key: str, store: str, root: Path) -> Path:
    parts = urlsplit(location)
    if parts.scheme in ("", "file"):
        return Path(url2pathname(parts.path))
    import mlflow

    kept = root / DOWNLOADED / key
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        fetched = tempfile.mkdtemp(dir=kept.parent)
        mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=fetched, tracking_uri=store)
        with contextlib.suppress(OSError):  # another run has brought it meanwhile
            Path(fetched).rename(kept)
    return kept
