import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent


@pytest.fixture
def launcher() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster/ray-cluster.yaml").read_text())


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster/rayjob.yaml").read_text())["spec"]


def gpus(container: dict[str, Any]) -> int:
    limits = container["resources"]["limits"]
    assert limits == container["resources"]["requests"], "Kubernetes does not share out GPUs by request"
    return int(limits.get("nvidia.com/gpu", 0))


def test_the_cluster_file_is_one_for_ray(launcher):
    jsonschema = pytest.importorskip("jsonschema")
    util = pytest.importorskip("ray.autoscaler._private.util")
    schema = Path(util.__file__).parent.parent / "ray-schema.json"
    jsonschema.validate(launcher, json.loads(schema.read_text()))
    util.validate_config(util.prepare_config(launcher))


def test_only_workers_have_gpus_on_aws(launcher):
    types = launcher["available_node_types"]
    head = types.pop(launcher["head_node_type"])
    assert head["resources"] == {"CPU": 2, "GPU": 0}
    assert head["max_workers"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]
    for worker in types.values():
        assert worker["resources"]["GPU"] == 1
        assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert worker["node_config"]["IamInstanceProfile"]


def test_only_workers_have_gpus_on_kubernetes(job):
    cluster = job["rayClusterSpec"]
    assert gpus(cluster["headGroupSpec"]["template"]["spec"]["containers"][0]) == 0
    for group in cluster["workerGroupSpecs"]:
        assert gpus(group["template"]["spec"]["containers"][0]) == 1
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_what_kuberay_would_refuse(job):
    rules = job["deletionStrategy"]["deletionRules"]
    assert not job.keys() & {"shutdownAfterJobFinishes", "ttlSecondsAfterFinished"}
    for rule in rules:
        assert len(rule["condition"].keys() & {"jobStatus", "jobDeploymentStatus"}) == 1
        # DeleteWorkers is refused where the autoscaler would start the workers again
        assert rule["policy"] in ("DeleteCluster", "DeleteSelf", "DeleteNone")
    assert re.fullmatch(r"python jobs/\w+\.py s3://\S+\.yaml", job["entrypoint"])


def test_credentials_are_secrets(job):
    cluster = job["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        variables = group["template"]["spec"]["containers"][0]["env"]
        assert {variable["name"] for variable in variables} >= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        assert all("secretKeyRef" in variable["valueFrom"] for variable in variables)


def test_the_ray_version_is_the_pinned_one(launcher, job):
    constraints = ROOT / "constraints.txt"
    pinned = re.search(r"^ray(?:\[[^]]*\])?==([\d.]+)", constraints.read_text(), re.MULTILINE)
    assert pinned, "constraints.txt does not pin ray"
    assert job["rayClusterSpec"]["rayVersion"] == pinned[1]
    for image in (launcher["docker"]["head_image"], launcher["docker"]["worker_image"]):
        assert image.split(":")[1].startswith(f"{pinned[1]}-")
    assert f"rayproject/ray:{pinned[1]}-" in (ROOT / "cluster/README.md").read_text()
