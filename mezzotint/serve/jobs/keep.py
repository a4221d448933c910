"""Finished images in a folder: a file each, and a line of JSON a job, which outlive the server."""

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mezzotint.atomic_file import atomic_path
from mezzotint.errors import MezzotintError

from .job import Job, State
from .observer import Observer

_LOG = logging.getLogger("mezzotint.serve")
_LINES = "jobs.jsonl"


class Keep(Observer):
    """Writes in a thread of its own, in the order in which jobs end; a full disk is told in the log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="keep")

    @classmethod
    def at(cls, folder: Path) -> "Keep":
        """Make the folder where it is missing. Raises MezzotintError where that cannot be."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MezzotintError(f"{folder} cannot be made ({error.strerror}); choose another folder to keep") from None
        return cls(folder)

    def ended(self, job: Job) -> None:
        """Write a job that is done."""
        if job.state is State.DONE:
            self._writer.submit(self._write, job)

    def close(self) -> None:
        """Wait for what is being written."""
        self._writer.shutdown()

    def _write(self, job: Job) -> None:
        try:
            names = [f"{job.id}-{index}.{job.order.format}" for index in range(len(job.images))]
            for name, image in zip(names, job.images, strict=True):
                with atomic_path(self.folder / name) as partial:
                    partial.write_bytes(image.stored.read())
            line = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "id": job.id,
                "owner": job.owner,
                "model": job.model,
                "files": names,
                "settings": [image.read_about().settings for image in job.images],
            }
            with (self.folder / _LINES).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line) + "\n")
        except OSError as error:
            _LOG.error("not kept", extra={"fields": {"job": job.id, "reason": str(error)}})
