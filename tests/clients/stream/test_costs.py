"""What a frame costs is learned from what frames have cost."""

from __future__ import annotations

import numpy as np
import pytest

from triton_yolo.clients.stream.costs import OVERHEAD, Costs, Kind

FRAME = 1280 * 960
TILE = 64 * 64
WHOLE = (Kind.CODED_FRAME, Kind.RAW_FRAME)
ALL = (*WHOLE, Kind.RAW_TILES, Kind.CODED_TILES)


def after(seconds_per_byte: float, seconds_per_decoded_pixel: float, link_mbits: float | None = None) -> Costs:
    """What has seen requests of all kinds and sizes to a server of a known speed."""
    costs, random = Costs(link_mbits), np.random.default_rng(0)
    for _ in range(300):
        kind, pixels = ALL[random.integers(4)], int(random.integers(1, 300)) * TILE
        nbytes = pixels // 5 if kind.coded else 3 * pixels
        if kind.coded:
            costs.coded(kind, pixels, nbytes, pixels * 2e-9)
        seconds = 0.03 + seconds_per_byte * nbytes + (seconds_per_decoded_pixel * pixels if kind.coded else 0)
        costs.answered(kind, pixels, nbytes, seconds + random.normal(0, 5e-4))
    return costs


def test_a_slow_link_makes_codes_cheap_and_a_fast_one_makes_pixels_cheap() -> None:
    slow, fast = after(8e-8, 5e-9), after(2e-10, 5e-9)
    assert slow.cheapest(20 * TILE, FRAME, ALL) == Kind.CODED_TILES
    assert fast.cheapest(20 * TILE, FRAME, ALL) == Kind.RAW_TILES
    assert slow.cheapest(FRAME, FRAME, WHOLE) == Kind.CODED_FRAME
    assert fast.cheapest(FRAME, FRAME, WHOLE) == Kind.RAW_FRAME


@pytest.mark.parametrize(("byte", "pixel"), [(8e-8, 5e-9), (8e-9, 3e-9), (1e-9, 1e-8)])
def test_the_link_and_the_decoder_are_measured_out_of_the_times_of_requests(byte: float, pixel: float) -> None:
    costs = after(byte, pixel)
    assert costs.of(Kind.RAW_TILES, FRAME) == pytest.approx((3 * FRAME + OVERHEAD) * byte, rel=0.15, abs=5e-4)
    coded = (FRAME / 5 + OVERHEAD) * byte + FRAME * (pixel + 2e-9)
    assert costs.of(Kind.CODED_TILES, FRAME) == pytest.approx(coded, rel=0.15, abs=5e-4)


def test_a_link_that_is_known_is_not_measured() -> None:
    costs = after(1e-10, 1e-9, link_mbits=10)
    assert costs.of(Kind.RAW_FRAME, FRAME) == pytest.approx((3 * FRAME + OVERHEAD) * 8e-7)


def test_a_link_that_becomes_slow_is_noticed() -> None:
    costs = after(2e-10, 5e-9)
    assert costs.cheapest(FRAME, FRAME, ALL).coded is False
    for number in range(40):
        pixels = (50 + number) * TILE
        costs.answered(Kind.RAW_TILES, pixels, 3 * pixels, 0.03 + 8e-8 * 3 * pixels)
    assert costs.cheapest(FRAME, FRAME, ALL).coded is True


def test_the_last_choice_stays_while_no_other_is_clearly_better() -> None:
    costs = Costs(100)
    for kind in (Kind.CODED_FRAME, Kind.CODED_TILES):
        costs.coded(kind, FRAME, FRAME // 5, FRAME * 2e-9)
    kinds = (Kind.CODED_FRAME, Kind.CODED_TILES)
    pixels = [int(FRAME * share) for share in (0.5, 0.9, 0.95, 1.1, 0.95, 1.3, 1.1, 0.9, 0.8)]
    chosen = [costs.cheapest(one, FRAME, kinds) for one in pixels]
    tiles, frame = Kind.CODED_TILES, Kind.CODED_FRAME
    assert chosen == [tiles, tiles, tiles, tiles, tiles, frame, frame, frame, tiles]


def test_a_fit_that_wanders_below_nothing_is_not_believed() -> None:
    costs = Costs(None)
    for pixels in range(10 * TILE, 100 * TILE, TILE):
        costs.answered(Kind.RAW_TILES, pixels, 3 * pixels, 1e6 / pixels)  # more bytes, less time
    assert all(costs.of(kind, FRAME) > 0 for kind in ALL)
