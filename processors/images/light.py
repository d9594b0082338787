"""Colours told by code points (CICP) instead of a profile: wide gamut, PQ and HLG, brought to sRGB.

AVIF and HEIC have them in `nclx`, PNG in `cICP`. What is brighter than a screen's white is rolled off, see
docs/decisions/0026.
"""

from functools import cache
from typing import Any, NamedTuple

import pyvips

_P3, _REC2020 = frozenset({11, 12}), frozenset({9})
_LINEAR, _PQ, _HLG = 8, 16, 18
_GAMMAS = {4: 2.2, 5: 2.8}
_TO_709 = {
    "display-p3": [[1.2249, -0.2247, -0.0002], [-0.0420, 1.0419, 0.0001], [-0.0197, -0.0786, 1.0983]],
    "rec2020": [[1.6605, -0.5876, -0.0729], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1188]],
}
# Candelas per square metre: the white of ordinary pictures in an HDR one, and what is shown as the brightest.
_WHITE, _BRIGHTEST = 203.0, 1000.0
_KNEE = 0.5


class Cicp(NamedTuple):
    """Code points of ISO/IEC 23091-2."""

    primaries: int
    transfer: int

    @property
    def is_srgb(self) -> bool:
        """Whether pixels can be shown as they are: BT.709 colours with any of the curves of video and screens."""
        return self.color_space == "srgb" and not self.is_hdr and self.transfer not in {_LINEAR, *_GAMMAS}

    @property
    def is_hdr(self) -> bool:
        """Whether it may be brighter than white."""
        return self.transfer in {_PQ, _HLG}

    @property
    def color_space(self) -> str:
        """A word of `schemas.details.Details`."""
        if self.primaries in _P3:
            return "display-p3"
        return "rec2020" if self.primaries in _REC2020 else "srgb"


def shown(image: Any, cicp: Cicp) -> Any:
    """A libvips image of 8 or 16 bits as 8-bit sRGB; alpha stays."""
    deep = image.format == "ushort"
    alpha = image[image.bands - 1] if image.hasalpha() else None
    colours = image.extract_band(0, n=min(3, image.bands - (alpha is not None)))
    if colours.bands < 3:
        colours = colours[0].bandjoin([colours[0], colours[0]])
    light = colours.maplut(_light_of(cicp.transfer, deep))
    if cicp.transfer == _HLG:
        light = _as_displayed(light)
    if cicp.color_space in _TO_709:
        light = light.recomb(_TO_709[cicp.color_space])
    if cicp.is_hdr:
        light = _rolled_off(light)
    # Casting cuts off what no screen shows.
    made = (light * 65535 + 0.5).cast("ushort").maplut(_curve_of_srgb()).copy(interpretation="srgb")
    if alpha is None:
        return made
    return made.bandjoin((alpha >> 8 if deep else alpha).cast("uchar"))


@cache
def _light_of(transfer: int, deep: bool) -> Any:
    """A table from code values to light; 1 is the white of ordinary pictures."""
    code = pyvips.Image.identity(ushort=deep) / (65535 if deep else 255)
    if transfer == _PQ:
        root = code ** (1 / 78.84375)
        lifted = root - 0.8359375
        light = ((lifted > 0).ifthenelse(lifted, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
        light = light * (10_000 / _WHITE)
    elif transfer == _HLG:
        bright = (((code - 0.55991073) / 0.17883277).exp() + 0.28466892) / 12
        light = (code <= 0.5).ifthenelse(code**2 / 3, bright)
    elif transfer == _LINEAR:
        light = code
    elif transfer in _GAMMAS:
        light = code ** _GAMMAS[transfer]
    else:
        light = (code <= 0.04045).ifthenelse(code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return light.copy_memory()


def _as_displayed(light: Any) -> Any:
    """HLG tells the light of the scene; this is that of a screen of 1,000 cd/m2."""
    luminance = light.recomb([[0.2627, 0.6780, 0.0593]])
    return light * luminance**0.2 * (_BRIGHTEST / _WHITE)


def _rolled_off(light: Any) -> Any:
    """Bring the brightest to 1: untouched up to the knee, then ever less, all channels alike so that no hue turns."""
    peak, knee = _BRIGHTEST / _WHITE, _KNEE
    a = -(knee**2) * (peak - 1) / (knee**2 - 2 * knee + peak)
    b = (knee**2 - 2 * knee * peak + peak) / (peak - 1)
    most = light[0].maxpair(light[1]).maxpair(light[2])
    most = (most > knee).ifthenelse(most, knee)
    return light * ((b + knee) ** 2 / (b - a) * (most + a) / (most + b) / most)


@cache
def _curve_of_srgb() -> Any:
    """A table from light in 16 bits to sRGB in 8."""
    light = pyvips.Image.identity(ushort=True) / 65535
    code = (light <= 0.0031308).ifthenelse(light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (code * 255 + 0.5).cast("uchar").copy_memory()
