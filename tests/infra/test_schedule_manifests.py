"""The refresh that Kubernetes schedules: valid by its schemas, and a command that this project's command lines take."""

import json
import shlex
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipelines.refresh_data import Refresh
from pipelines.schedule import Place, Schedule
from pipelines.scheduling.attempt import command_of
from pipelines.scheduling.cron import Cron
from pipelines.workflow.cli import parse
from tests.infra.places import INFRA, ROOT
from tests.infra.test_manifests import KUBERNETES

FILES = ("refresh-cronjob.yaml", "refresh-raycronjob.yaml")


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((INFRA / "kubernetes" / name).read_text())


def command(name: str) -> list[str]:
    template = read(name)["spec"]["jobTemplate"]
    if "entrypoint" in template:
        return shlex.split(template["entrypoint"])
    container = template["spec"]["template"]["spec"]["containers"][0]
    return [*container["command"], *container["args"]]


def test_the_cronjob_is_one_of_kubernetes_that_never_overlaps_and_catches_up() -> None:
    job = read("refresh-cronjob.yaml")
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    assert job["spec"]["concurrencyPolicy"] == "Forbid" and job["spec"]["startingDeadlineSeconds"] > 0


def test_the_raycronjob_has_kuberays_fields_and_the_rayjobs_cluster() -> None:
    job, rayjob = read("refresh-raycronjob.yaml"), read("rayjob.yaml")
    inner = {**rayjob, "spec": job["spec"]["jobTemplate"]}
    for document, schema in ((job, "raycronjob.json"), (inner, "rayjob.json")):
        jsonschema.Draft202012Validator(json.loads((ROOT / "tests/infra/schemas" / schema).read_text())).validate(
            document
        )
    assert inner["spec"]["rayClusterSpec"] == rayjob["spec"]["rayClusterSpec"]


@pytest.mark.parametrize("name", FILES)
def test_both_begin_the_same_refresh_in_the_root_that_is_shared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the image's folder
    spec, words = read(name)["spec"], command(name)
    Cron(spec["schedule"], spec["timeZone"])
    assert words == command(FILES[0]) and words[:2] == ["python", "pipelines/schedule.py"]
    at = words.index("--")
    schedule, place = parse(Schedule, words[2:at], "schedule", Place)
    line = command_of(words[at + 1 :])
    refresh, _ = parse(Refresh, list(line[1:]), "refresh-data")
    assert schedule.once and schedule.name == refresh.into and line[0].endswith("pipelines/refresh_data.py")
    pods = [read("refresh-cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]] if name == FILES[0] else []
    for pod in pods:  # those of the other are the RayJob's
        claimed = [volume["name"] for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume]
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        assert [mounts[volume] for volume in claimed] == [str(place.root)]
