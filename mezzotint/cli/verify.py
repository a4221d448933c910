"""`mezzotint verify`."""

from .options import AsJson, BundlePath
from .terminal import STDOUT, write_json


def verify(bundle: BundlePath, as_json: AsJson = False) -> None:
    """Check every file of a bundle against its hash."""
    from mezzotint.runtime import Bundle

    count = Bundle.open(bundle).verify()
    if as_json:
        write_json({"bundle": str(bundle), "files": count, "intact": True})
    else:
        STDOUT.print(f"OK: {count} files of {bundle} match the manifest", markup=False)
