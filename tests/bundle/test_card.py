"""The model card: hubs read its head, the licence is the checkpoint's, and it says what the manifest says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from mezzotint.bundle.card import card_text, read_licence
from mezzotint.bundle.manifest import Replacement, Source
from mezzotint.runtime import Bundle


def hub_reads(text: str, folder: Path) -> dict[str, Any]:
    """The front matter of a card as huggingface_hub reads it."""
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    head: dict[str, Any] = ModelCard.load(path).data.to_dict()
    return head


def test_every_bundle_has_one_that_the_manifest_counts(tiny_bundle: Bundle, tiny_int8: Bundle) -> None:
    for bundle in (tiny_bundle, tiny_int8):
        text = (bundle.path / "README.md").read_text(encoding="utf-8")
        assert "README.md" in {entry.path for entry in bundle.manifest.files}
        assert text == card_text(bundle.manifest, {})  # the tiny checkpoint has no card
        assert bundle.manifest.source.sha256 in text
        assert all(f"| {name} | {one.storage} |" in text for name, one in bundle.manifest.components.items())
        bundle.verify()


def test_an_int8_card_says_target_parity_and_calibration(tiny_int8: Bundle) -> None:
    text = (tiny_int8.path / "README.md").read_text(encoding="utf-8")
    unet, record = tiny_int8.component("unet"), tiny_int8.manifest.calibration
    assert unet.parity is not None and record is not None
    assert f"| {unet.parity.sqnr_db} dB |" in text
    assert "* target: `onnxruntime`" in text
    assert f'* prompts_sha256: `"{record.prompts_sha256}"`' in text
    assert "`avx512_vnni or avx_vnni`" in text


@pytest.mark.parametrize(
    ("front_matter", "expected"),
    [
        ("license: apache-2.0", {"license": "apache-2.0"}),
        (
            "license: other\nlicense_name: 'my: own'\nlicense_link: https://example.org/licence#two",
            {"license": "other", "license_name": "my: own", "license_link": "https://example.org/licence#two"},
        ),
        ('tags:\n- license\nlicense: "creativeml-openrail-m"  # of SD 1', {"license": "creativeml-openrail-m"}),
        ("language: en", {}),
    ],
)
def test_the_licence_is_read_as_the_hub_reads_it_and_handed_on(
    front_matter: str, expected: dict[str, str], tiny_bundle: Bundle, tmp_path: Path
) -> None:
    oracle = hub_reads(f"---\n{front_matter}\n---\n\n# A model\nlicense: mit\n", tmp_path)
    assert {key: value for key, value in oracle.items() if key.startswith("license")} == expected
    licence = read_licence(tmp_path / "README.md")
    assert licence == expected
    made = hub_reads(card_text(tiny_bundle.manifest, licence), tmp_path)
    assert {key: value for key, value in made.items() if key.startswith("license")} == expected
    assert (made["library_name"], made["pipeline_tag"]) == ("onnx", "text-to-image")
    assert read_licence(tmp_path / "README.md") == expected  # so that a quantized bundle finds it again


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# A model\n",
        b"---\nlicense: mit\n",
        b"\xff\xfe\x00",
        b"---\nlicense: " + b"x" * 500 + b"\n---\n",
        bytes(2 << 20),
    ],
    ids=["empty", "no head", "no end", "no text", "endless", "huge"],
)
def test_a_card_without_a_licence_to_read_gives_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(content)
    assert read_licence(path) == {}
    assert read_licence(tmp_path / "none") == {}


def test_a_name_full_of_markup_stays_a_name(tiny_bundle: Bundle, tmp_path: Path) -> None:
    source = Source("a | b `c`\n# d \udcff", "0" * 64)
    text = card_text(replace(tiny_bundle.manifest, source=source), {})
    assert [line for line in text.splitlines() if line.startswith("# ")] == [
        "# a \\| b \\`c\\` \\# d \udcff, fp32 for portable"
    ]
    assert hub_reads(text.encode("utf-8", "replace").decode(), tmp_path)["tags"]


def test_what_was_replaced_is_named_with_its_hash(tiny_bundle: Bundle) -> None:
    vae = Replacement(name="sd-vae-ft-mse", sha256="5e" * 32, variant="fp16")
    text = card_text(replace(tiny_bundle.manifest, replaced={"vae": vae}), {})
    (line,) = (line for line in text.splitlines() if line.startswith("* `vae`: "))
    assert all(part in line for part in ("`sd-vae-ft-mse`", "5e" * 32, "`fp16`", "licence of its own"))
