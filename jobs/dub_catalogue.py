"""Run a dubbing job on the Ray cluster that this is submitted to.

    ray job submit --address http://head:8265 -- python jobs/dub_catalogue.py s3://bucket/job.yaml

The same run as `dub run JOB`, with its exit codes; killed or failed, it is submitted again the same way.
"""

import sys

from pipeline.cli import app

if __name__ == "__main__":
    app(["run", *sys.argv[1:]])
