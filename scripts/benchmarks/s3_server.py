"""`python -m scripts.benchmarks.s3_server HOST` runs an S3 API (moto) with an empty bucket and prints its URL."""

from __future__ import annotations

import sys
import threading

from tests.support.s3 import BUCKET, S3Server

if __name__ == "__main__":
    server = S3Server(sys.argv[1])
    server.client().create_bucket(Bucket=BUCKET)
    print(server.endpoint, flush=True)
    threading.Event().wait()
