"""Each case's colour and marker, the same in every plot."""

from dataclasses import dataclass

from ..figures.results import Results

# All have a contrast of 3:1 or more both on white and on the dark theme's near-black.
_COLOURS = ("#3b7dd8", "#c8641b", "#2f8f5b", "#8a63d2", "#c2487f", "#8a7a12", "#1f8a99")
_CONTROL_COLOUR = "#7d8590"
_PEER_COLOUR = "#6b7d3c"
_MARKERS = "osD^vPX<>*ph"


@dataclass(frozen=True)
class Style:
    colour: str
    marker: str


def styles_of(results: Results) -> dict[str, Style]:
    """Bundles get colours in their order; reference and controls stay grey, peers share a colour."""
    bundles, peers = ([row["name"] for row in results["cases"] if row["role"] == role] for role in ("bundle", "peer"))
    styles = {row["name"]: Style(_CONTROL_COLOUR, "o") for row in results["cases"]}
    for index, name in enumerate(bundles):
        styles[name] = Style(_COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)])
    styles |= {name: Style(_PEER_COLOUR, _MARKERS[index % len(_MARKERS)]) for index, name in enumerate(peers)}
    return styles
