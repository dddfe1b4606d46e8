"""Vertex AI's batch prediction and Cloud Storage on loopback, as Google's own clients speak them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from email import message_from_bytes
from email.message import Message
from urllib.parse import parse_qs, unquote, urlsplit

from tests.batch_server import Job, Vendor, served
from tests.faulty_server import Body, Reply, reply
from tests.vertex_server import LOCATION, MODEL, PROJECT, TOKEN, refused, token

BUCKET = "lab-bucket"
_PARENT = f"/v1beta1/projects/{PROJECT}/locations/{LOCATION}/batchPredictionJobs"


def vertex_batches(vendor: Vendor) -> AbstractContextManager[Vendor]:
    """Serve both until the end of the block, and tokens; `vendor.files` holds the bucket's objects by name."""
    return served(vendor, _Pages(vendor).page, "")


class _Pages:
    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor

    def page(self, method: str, target: str, content: bytes, headers: Message) -> Reply:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if path == "/token":
            return token(3600)
        if headers["Authorization"] != f"Bearer {TOKEN}":
            return refused(401, "UNAUTHENTICATED", "who are you?")
        if path.startswith(_PARENT):
            return self._jobs(method, path.removeprefix(_PARENT), query, content)
        if path == f"/upload/storage/v1/b/{BUCKET}/o":
            return self._uploaded(content, headers)
        if path == f"/storage/v1/b/{BUCKET}/o":
            names = [name for name in self.vendor.files if name.startswith(query["prefix"][0])]
            return reply({"items": [{"name": name, "bucket": BUCKET} for name in names]})
        if found := re.fullmatch(f"/download/storage/v1/b/{BUCKET}/o/(.+)", path):
            return Reply(self.vendor.files[unquote(found[1])])
        return refused(404, "NOT_FOUND", f"no page {path}")

    def _uploaded(self, content: bytes, headers: Message) -> Reply:
        form = message_from_bytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + content)
        about, data = (part.get_payload(decode=True) for part in form.walk() if not part.is_multipart())
        assert isinstance(about, bytes)
        assert isinstance(data, bytes)
        name = json.loads(about)["name"]
        self.vendor.files[name] = data
        return reply({"name": name, "bucket": BUCKET})

    def _jobs(self, method: str, rest: str, query: Mapping[str, list[str]], content: bytes) -> Reply:
        vendor = self.vendor
        if method == "POST":
            return self._create(json.loads(content))
        if not rest:
            (tag,) = re.fullmatch(r'display_name="(.+)"', query["filter"][0]).groups()  # type: ignore[union-attr]
            found = [self._shown(job) for job in vendor.jobs.values() if job.tag == tag]
            return reply({"batchPredictionJobs": found})
        job = vendor.jobs.get(rest[1:])
        if job is None:
            return refused(404, "NOT_FOUND", "no such job")
        vendor.looks[job.id] += 1
        vendor.looked.set()
        return reply(self._shown(job))

    def _create(self, asked: Body) -> Reply:
        assert asked["model"] == f"publishers/google/models/{MODEL}"
        assert asked["inputConfig"]["instancesFormat"] == asked["outputConfig"]["predictionsFormat"] == "jsonl"
        (uri,) = asked["inputConfig"]["gcsSource"]["uris"]
        lines = [json.loads(line) for line in self.vendor.files[uri.removeprefix(f"gs://{BUCKET}/")].splitlines()]
        job = Job(str(len(self.vendor.jobs)), asked["displayName"], lines)
        job.files["output"] = asked["outputConfig"]["gcsDestination"]["outputUriPrefix"]
        self.vendor.plan(job)
        self.vendor.jobs[job.id] = job
        self.vendor.created(job)
        return reply(self._shown(job))

    def _shown(self, job: Job) -> Body:
        held = self.vendor.held.is_set()
        ended = "SUCCEEDED" if job.ends == "completed" else job.ends.upper()
        shown: Body = {
            "name": f"{_PARENT.removeprefix('/v1beta1/')}/{job.id}",
            "displayName": job.tag,
            "state": "JOB_STATE_RUNNING" if held else f"JOB_STATE_{ended}",
            "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": job.files["output"]}},
        }
        if held:
            return shown
        if job.text:
            shown["error"] = {"code": 3, "message": job.text}
        folder = job.files["output"].removeprefix(f"gs://{BUCKET}/")
        name = f"{folder}/prediction-model-2026-11-22T00:00:00.000000Z/predictions.jsonl"
        if name not in self.vendor.files:
            self.vendor.files[name] = self._run(job)
        done = len(self.vendor.files[name].splitlines())
        return shown | {
            "completionStats": {"successfulCount": str(done), "incompleteCount": str(len(job.lines) - done)}
        }

    def _run(self, job: Job) -> bytes:
        """The output, in another order than the input, as the page on batch prediction shows it."""
        written = b""
        for line in job.lines[: job.answered]:
            said = self.vendor.answer(line["request"])
            told = json.loads(said.content)
            result: Body = {"status": "", "processed_time": "2026-11-22T00:00:00.000+00:00", "request": line["request"]}
            if said.status == 200:
                result["response"] = told
            else:
                result["status"] = f"Bad Request: {json.dumps(told)}"
            written = json.dumps(result).encode() + b"\n" + written
        return written
