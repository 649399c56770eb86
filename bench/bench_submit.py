"""Time of `goldline submit`, compared with google-cloud-aiplatform doing the same, both against the stand-in.

Each try is a process of its own, as at the command line; the fastest of TRIES counts. `its own part` is a second submit
in a process that has everything imported: its own work and three requests. The SDK's `PipelineJob.submit()` would
first look for the bucket, and for the project's number; both are left out.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import described
from goldline.vertex import api
from tests.support.cloud_fixtures import CLOUD_PROJECT, GOLDLINE_YAML
from tests.support.standin import StandIn
from tests.support.standin_google import Google
from tests.support.standin_vertex import Vertex

TRIES = 3
OURS = """
import sys, time
from pathlib import Path
from goldline.vertex import environments
environments.FILE = Path(sys.argv[1])
from goldline.cli import main
assert main(["submit", "--env", "dev"]) == 0
begin = time.perf_counter()
assert main(["submit", "--env", "dev"]) == 0
print("own", time.perf_counter() - begin)
"""
FIRST = OURS.split("begin = ", maxsplit=1)[0]
SDKS = """
import sys
from google.cloud import aiplatform
import google.auth
credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
aiplatform.init(project=sys.argv[2], location="europe-west1", credentials=credentials, api_endpoint=sys.argv[3],
                api_transport="rest")
job = aiplatform.PipelineJob("goldline", sys.argv[4], pipeline_root="gs://bucket/root")
job.api_client.create_pipeline_job(parent=job._parent, pipeline_job=job._gca_resource, pipeline_job_id=job.job_id)
"""


def measured(code: str, *arguments: str) -> tuple[float, float, str]:
    """Seconds by the clock, CPU seconds and last printed line, of the fastest of TRIES."""
    found = []
    for _ in range(TRIES):
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
        clock, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append((clock, cpu, done.stdout.strip().splitlines()[-1] if done.stdout else ""))
    return min(found)


def main() -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory() as name, StandIn().running() as standin:
        folder = Path(name)
        vertex = Vertex(standin)
        Google(standin, CLOUD_PROJECT)
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(standin.credentials(folder))
        os.environ[api.ENDPOINT] = f"{standin.address}/{{service}}"
        (folder / "goldline.yaml").write_text(GOLDLINE_YAML)
        clock, cpu, _ = measured(FIRST, str(folder / "goldline.yaml"))
        own = min(float(measured(OURS, str(folder / "goldline.yaml"))[2].split()[1]) for _ in range(2))
        (folder / "pipeline.json").write_text(json.dumps(next(iter(vertex.jobs.values()))["pipelineSpec"]))
        rows = [
            ("goldline submit", clock, cpu),
            ("  its own part, with everything imported", own, float("nan")),
            (
                "google-cloud-aiplatform, the job's creation alone",
                *measured(SDKS, "", CLOUD_PROJECT, standin.address, str(folder / "pipeline.json"))[:2],
            ),
        ]
    print(f"{'':<52}{'clock':>9}{'processor':>12}")
    for what, seconds, processor in rows:
        shown = f"{processor:.2f} s" if processor == processor else ""  # noqa: PLR0124, not a number is not itself
        print(f"{what:<52}{seconds:>7.2f} s{shown:>12}")
    print(described(("kfp", "google-cloud-aiplatform", "google-auth")))


if __name__ == "__main__":
    main()
