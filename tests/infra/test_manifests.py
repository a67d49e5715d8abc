"""The cluster, the Kubernetes job and the MLflow server: valid by their tools' own schemas and command lines."""

import json
import re
import shlex
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from tests.infra.places import INFRA, pinned

KUBERNETES = "1.33"


def parse(command: click.Command, line: list[str]) -> dict[str, Any]:
    """The parameters that `command` reads from `line`; an unknown flag raises."""
    return command.make_context(command.name, line).params


@pytest.fixture
def job() -> dict[str, Any]:
    documents = yaml.safe_load_all((INFRA / "kubernetes/rayjob.yaml").read_text())
    return next(document for document in documents if document["kind"] == "RayJob")


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"] for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]]


def test_the_ray_launcher_takes_the_cluster_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config
    from ray.scripts.scripts import start

    config = yaml.safe_load((INFRA / "ray/cluster.yaml").read_text())
    validate_config(prepare_config(config))
    starts = [
        shlex.split(line)[2:]
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for line in config[key]
        if line.startswith("ray start ")
    ]
    head, worker = (parse(start, line) for line in starts)
    assert head["head"] and not worker["head"]
    assert worker["address"].rpartition(":")[2] == str(head["port"])


def test_the_rayjob_has_kuberays_fields_and_the_pinned_ray(job: dict[str, Any]) -> None:
    schema = json.loads((INFRA.parent / "tests/infra/schemas/rayjob.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(job)
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pinned("ray")


def test_the_pods_are_kubernetes_pods(job: dict[str, Any]) -> None:
    for pod in pods(job):
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **pod}
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_every_node_sees_the_same_root(job: dict[str, Any]) -> None:
    """The root that the entry point names lies on a claim that many nodes may write."""
    documents = list(yaml.safe_load_all((INFRA / "kubernetes/runs.yaml").read_text()))
    claims = [document for document in documents if document["kind"] == "PersistentVolumeClaim"]
    for claim in claims:
        kubernetes_validate.validate(claim, KUBERNETES, strict=True)
    shared = {claim["metadata"]["name"] for claim in claims if "ReadWriteMany" in claim["spec"]["accessModes"]}
    root = re.search(r"--root (\S+)", job["spec"]["entrypoint"])
    assert root
    for pod in pods(job):
        claimed = {
            volume["name"]
            for volume in pod["spec"]["volumes"]
            if volume.get("persistentVolumeClaim", {}).get("claimName") in shared
        }
        mounts = [mount for container in pod["spec"]["containers"] for mount in container["volumeMounts"]]
        assert {mount["mountPath"] for mount in mounts if mount["name"] in claimed} == {root[1]}


def test_a_job_that_is_deleted_to_be_started_again_leaves_the_results() -> None:
    documents = yaml.safe_load_all((INFRA / "kubernetes/rayjob.yaml").read_text())
    assert [document["kind"] for document in documents] == ["RayJob"]


@pytest.mark.parametrize("path", ["spec.shutdownAfterJobFinish", "spec.rayClusterSpec.headGroupSpec.rayStartParam"])
def test_a_misspelt_field_of_a_rayjob_is_found(job: dict[str, Any], path: str) -> None:
    *parents, field = path.split(".")
    inner = job
    for name in parents:
        inner = inner[name]
    inner[field] = {}
    schema = json.loads((INFRA.parent / "tests/infra/schemas/rayjob.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(job)


@pytest.fixture
def compose() -> dict[str, Any]:
    return yaml.safe_load((INFRA / "mlflow/compose.yaml").read_text())


def test_the_compose_file_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    jsonschema.validators.validator_for(schema)(schema).validate(compose)
    volumes = {mount.partition(":")[0] for service in compose["services"].values() for mount in service["volumes"]}
    assert volumes == set(compose["volumes"])


def test_the_server_waits_for_a_healthy_database_and_its_command_line_is_mlflows(compose: dict[str, Any]) -> None:
    from mlflow.cli import server

    service = compose["services"]["mlflow"]
    for name, condition in service["depends_on"].items():
        assert condition["condition"] == "service_healthy" and compose["services"][name]["healthcheck"]["test"]
    assert service["command"][:2] == ["mlflow", "server"]
    read = parse(server, service["command"][2:])
    assert f":{read['port']}/health" in " ".join(service["healthcheck"]["test"])
    assert {mount.partition(":")[2] for mount in service["volumes"]} == {read["artifacts_destination"]}


def test_no_password_is_written_down_and_ports_stay_on_loopback(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            assert "PASSWORD" not in name or str(value).startswith("${POSTGRES_PASSWORD:?"), f"{name} has a default"
        assert all(port.startswith("${MLFLOW_BIND:-127.0.0.1}:") for port in service.get("ports", []))
