"""The registered models of a root's registry, by the selections that they were trained on."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pipelines.workflow.environment import environment_kept, prepare_environment
from pipelines.workflow.tracking import store_of
from vlp_core.errors import UserError, first_line, public_text
from vlp_core.files import locked
from vlp_core.train.trained_on import selections_in
from vlp_core.uris import knock


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of a registered model."""

    name: str
    number: str
    aliases: tuple[str, ...]
    selections: tuple[str, ...]
    """The digests of those that it was trained on: its own, then its start's, the nearest first."""

    @property
    def title(self) -> str:
        named = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.name} version {self.number}{named}"


def versions_of(root: Path, selections: Collection[str]) -> list[Version]:
    """The versions that were, or whose start was, trained on selections with these digests. UserError where the
    registry does not answer."""
    store = store_of(root)
    if not selections or (store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).exists()):
        return []
    prepare_environment()
    import mlflow

    try:
        knock(store)
        with locked(root / ".mlflow.lock"), environment_kept("MLFLOW_TRACKING_URI"):
            client, found, token = mlflow.MlflowClient(store), list[Version](), None
            while token != "":
                page = client.search_model_versions(max_results=1000, page_token=token)
                for version in page:
                    if not set(seen := selections_in(version.tags)).isdisjoint(selections):
                        full = client.get_model_version(version.name, version.version)  # a search leaves out aliases
                        found.append(
                            Version(
                                name=version.name,
                                number=str(version.version),
                                aliases=tuple(full.aliases),
                                selections=seen,
                            )
                        )
                token = page.token or ""
    except (OSError, ValueError, mlflow.exceptions.MlflowException) as error:
        raise UserError(
            f"the registry at {public_text(store)} does not answer ({first_line(error)}); start it, or see "
            "MLFLOW_TRACKING_URI"
        ) from error
    return sorted(found, key=lambda version: (version.name, int(version.number)))
