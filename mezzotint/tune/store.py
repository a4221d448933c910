"""A profile into its bundle: the bundle is there as it was, or with the profile, at any moment."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mezzotint.atomic_folder import replace_folder
from mezzotint.bundle.bundle import Bundle, write_manifest
from mezzotint.bundle.card import CARD_NAME, read_licence, write_card
from mezzotint.bundle.manifest import MANIFEST_NAME
from mezzotint.bundle.profile import VARIANTS, Profile, check_name
from mezzotint.errors import MezzotintError

from .variants import Variant


def check_profile(bundle: Bundle, name: str, *, overwrite: bool) -> None:
    """MezzotintError for a name that cannot be, or that is taken and not to be overwritten."""
    check_name(name)
    if name in bundle.manifest.profiles and not overwrite:
        raise MezzotintError(
            where=bundle.path,
            what=f"there is a profile {name!r} already",
            advice="choose another --name, or pass --overwrite",
        )


def add_profile(bundle: Bundle, name: str, profile: Profile, variant: Variant) -> Bundle:
    """The bundle with `profile` under `name`, and with the graphs of `variant` where these are not its own.

    Variants that no profile has any more go. What stays as it is costs no room while both are there: it is linked.
    Where the bundle is a link, the folder that it leads to gets the profile.
    """
    kept = {other: one for other, one in bundle.manifest.profiles.items() if other != name}
    profiles = dict(sorted({**kept, name: profile}.items()))
    wanted = {one.variant for one in profiles.values() if one.variant is not None}
    with replace_folder(bundle.path.resolve(), marker=MANIFEST_NAME, overwrite=True) as staging:
        for path in _paths(bundle, wanted):
            _link(bundle.path / path, staging / path)
        place = f"{VARIANTS}/{profile.variant}"
        if profile.variant is not None and not (staging / place).is_dir():
            _copy_variant(variant.bundle, staging / place)
        manifest = replace(bundle.manifest, profiles=profiles)
        write_card(staging, manifest, read_licence(bundle.path / CARD_NAME))
        write_manifest(staging, manifest)
    return Bundle.open(bundle.path)


def _paths(bundle: Bundle, variants: set[str]) -> Iterator[str]:
    """Of the bundle's files, without those of variants that are not among `variants`."""
    places = tuple(f"{VARIANTS}/{one}/" for one in variants)
    own = {entry.path for entry in bundle.own_files()}
    for entry in bundle.entries():
        is_variant = entry.path.startswith(f"{VARIANTS}/") and entry.path not in own
        if entry.path != CARD_NAME and (not is_variant or entry.path.startswith(places)):
            yield entry.path


def _link(source: Path, place: Path) -> None:
    """The same file where the file system can, and else a copy."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), place)
    except OSError:
        shutil.copyfile(source, place)


def _copy_variant(bundle: Bundle, folder: Path) -> None:
    """The bundle without its profiles, in files of its own: where it comes from it may be changed in place."""
    for path in (*_paths(bundle, set()), CARD_NAME):
        if (bundle.path / path).is_file():  # bundles of 0.1 have no card
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / path, folder / path)
    write_manifest(folder, replace(bundle.manifest, profiles={}))
