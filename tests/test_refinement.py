from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from bottomup_fast.reference.refinement import Box, merge_patches
from bottomup_fast.refinement import Patch, refine

Labels = NDArray[np.int64]
SHARES = st.floats(0.01, 1.0)


def drawn(*rows: str) -> Labels:
    """A label map from rows of digits."""
    return np.array([[int(digit) for digit in row] for row in rows], dtype=np.int64)


def whole(labels: Labels) -> tuple[Labels, Box]:
    return labels, (0, 0, labels.shape[1], labels.shape[0])


def refine_once(
    coarse: Labels, patch: tuple[Any, Box], **settings: Any
) -> NDArray[np.integer[Any]]:
    return refine(coarse, [patch], **{"min_area": 1, **settings})


@st.composite
def label_maps(draw: st.DrawFn, smallest: int = 0) -> Labels:
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    blocks = draw(arrays(np.int64, shape, elements=st.integers(smallest, 5)))
    side = draw(st.integers(1, 3))
    return np.kron(blocks, np.ones((side, side), dtype=np.int64))


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, ...]) -> Box:
    y0, x0 = (draw(st.integers(0, size - 1)) for size in shape)
    y1, x1 = (
        draw(st.integers(first + 1, size)) for first, size in zip((y0, x0), shape, strict=True)
    )
    return x0, y0, x1, y1


@st.composite
def patches_of(draw: st.DrawFn, shape: tuple[int, ...], largest: int = 5) -> tuple[Labels, Box]:
    x0, y0, x1, y1 = box = draw(boxes(shape))
    elements = st.integers(0, largest)
    return draw(arrays(np.int64, (y1 - y0, x1 - x0), elements=elements)), box


@st.composite
def nested(draw: st.DrawFn) -> tuple[Labels, Labels]:
    """A coarse map and one that subdivides its segments, both without background."""
    coarse = draw(label_maps(smallest=1))
    parts = draw(arrays(np.int64, coarse.shape, elements=st.integers(0, 3)))
    return coarse, 4 * coarse + parts


class TestProperties:
    @given(st.data(), label_maps(), SHARES, SHARES)
    def test_one_label_each_in_order_of_appearance(
        self, data: st.DataObject, coarse: Labels, refine_iou: float, contain: float
    ) -> None:
        before = coarse.copy()
        patches = data.draw(st.lists(patches_of(coarse.shape), max_size=4))
        result = refine(coarse, patches, min_area=1, refine_iou=refine_iou, contain=contain)
        assert result.shape == coarse.shape
        assert result.dtype == np.int32
        appeared = list(dict.fromkeys(result[result > 0].tolist()))
        assert appeared == list(range(1, len(appeared) + 1))
        assert (coarse == 0).any() or (result > 0).all()
        np.testing.assert_array_equal(coarse, before)

    @given(st.data(), label_maps(), SHARES, SHARES)
    def test_no_segment_vanishes_and_outside_the_boxes_nothing_changes(
        self, data: st.DataObject, coarse: Labels, refine_iou: float, contain: float
    ) -> None:
        before = coarse.copy()
        patches = data.draw(st.lists(patches_of(coarse.shape), max_size=4))
        merged = merge_patches(coarse, patches, min_area=1, refine_iou=refine_iou, contain=contain)
        assert set(coarse[coarse > 0].tolist()) <= set(merged.ravel().tolist())
        outside = np.ones(coarse.shape, dtype=np.bool_)
        for _, (x0, y0, x1, y1) in patches:
            outside[y0:y1, x0:x1] = False
        np.testing.assert_array_equal(merged[outside], coarse[outside])
        np.testing.assert_array_equal(coarse, before)

    @given(st.data(), label_maps(), SHARES, SHARES)
    def test_one_finer_segment_takes_at_most_half_of_any_other(
        self, data: st.DataObject, coarse: Labels, refine_iou: float, contain: float
    ) -> None:
        patch = data.draw(patches_of(coarse.shape, largest=1))
        merged = merge_patches(coarse, [patch], min_area=1, refine_iou=refine_iou, contain=contain)
        areas = np.bincount(coarse.ravel())
        left = np.bincount(merged.ravel(), minlength=len(areas))[: len(areas)]
        assert (2 * left[1:] >= areas[1:]).all()

    @given(st.data(), label_maps(), SHARES, SHARES)
    def test_the_map_itself_as_a_patch_changes_nothing(
        self, data: st.DataObject, coarse: Labels, refine_iou: float, contain: float
    ) -> None:
        x0, y0, x1, y1 = box = data.draw(boxes(coarse.shape))
        patch = Patch(coarse[y0:y1, x0:x1], box)
        result = refine_once(coarse, patch, refine_iou=refine_iou, contain=contain)
        np.testing.assert_array_equal(result, refine(coarse, []))

    @given(nested(), SHARES, SHARES)
    def test_a_finer_partition_of_the_whole_image_is_the_result(
        self, maps: tuple[Labels, Labels], refine_iou: float, contain: float
    ) -> None:
        coarse, finer = maps
        result = refine_once(coarse, whole(finer), refine_iou=refine_iou, contain=contain)
        np.testing.assert_array_equal(result, refine(finer, []))

    @given(st.data(), label_maps())
    def test_released_pixels_move_to_one_of_the_nearest_segments(
        self, data: st.DataObject, coarse: Labels
    ) -> None:
        assume((coarse == 1).any())
        chosen = data.draw(arrays(np.bool_, coarse.shape)) & (coarse == 1)
        assume(chosen.any())
        merged = merge_patches(
            coarse, [whole(chosen.astype(np.int64))], min_area=1, refine_iou=0.001, contain=1.0
        )
        others = np.argwhere(coarse != 1)
        for pixel in np.argwhere(merged != coarse):
            distances = np.linalg.norm(others - pixel, axis=1)
            nearest = others[distances == distances.min()]
            assert merged[tuple(pixel)] in coarse[tuple(nearest.T)]
            assert coarse[tuple(pixel)] == 1
            assert not chosen[tuple(pixel)]

    @given(st.data(), nested(), st.floats(0.51, 1.0))
    def test_a_finer_partition_seen_twice_adds_nothing(
        self, data: st.DataObject, maps: tuple[Labels, Labels], refine_iou: float
    ) -> None:
        coarse, finer = maps
        x0, y0, x1, y1 = box = data.draw(boxes(coarse.shape))
        patch = Patch(finer[y0:y1, x0:x1], box)
        once = refine_once(coarse, patch, refine_iou=refine_iou)
        twice = refine(coarse, [patch, patch], min_area=1, refine_iou=refine_iou)
        np.testing.assert_array_equal(once, twice)

    @given(st.data(), label_maps(), st.permutations(range(1, 6)), st.permutations(range(1, 6)))
    def test_label_numbers_do_not_matter(
        self, data: st.DataObject, coarse: Labels, renamed: list[int], coarse_renamed: list[int]
    ) -> None:
        labels, box = data.draw(patches_of(coarse.shape))
        areas = [area for area in np.bincount(labels.ravel())[1:].tolist() if area]
        assume(len(set(areas)) == len(areas))
        other_patch = Patch(1000 * np.array([0, *renamed])[labels], box)
        other_coarse = 1000 * np.array([0, *coarse_renamed])[coarse]
        np.testing.assert_array_equal(
            refine_once(coarse, (labels, box)), refine_once(other_coarse, other_patch)
        )

    @given(label_maps())
    def test_without_patches_the_input_is_numbered_by_appearance(self, coarse: Labels) -> None:
        result = refine(coarse, [])
        pairs = set(zip(coarse.ravel().tolist(), result.ravel().tolist(), strict=True))
        assert len(pairs) == len({old for old, _ in pairs}) == len({new for _, new in pairs})
        assert all((old == 0) == (new == 0) for old, new in pairs)


class TestReplacing:
    def test_a_better_boundary_replaces(self) -> None:
        coarse = np.repeat([[1] * 20 + [2] * 20], 20, axis=0)
        finer = np.repeat([[7] * 18 + [5] * 22], 20, axis=0)
        np.testing.assert_array_equal(refine(coarse, [whole(finer)]), np.where(finer == 7, 1, 2))

    def test_only_inside_the_patch(self) -> None:
        coarse = np.repeat([[1] * 20 + [2] * 20], 30, axis=0)
        finer = np.repeat([[7] * 18 + [0] * 22], 10, axis=0)
        expected = coarse.copy()
        expected[10:20, 18:20] = 2
        result = refine(coarse, [Patch(finer, (0, 10, 40, 20))])
        np.testing.assert_array_equal(result, expected)

    def test_released_pixels_go_to_the_nearest_segment(self) -> None:
        coarse = drawn("2111111111113", "2111111111113")
        finer = drawn("0001111111100", "0001111111100")
        result = refine_once(coarse, whole(finer), refine_iou=0.7)
        np.testing.assert_array_equal(result, drawn("1112222222233", "1112222222233"))

    def test_a_release_of_more_than_half_is_held_back(self) -> None:
        coarse = drawn("2111111113")
        enough, too_few = drawn("0111100000"), drawn("0111000000")
        released = refine_once(coarse, whole(enough), refine_iou=0.3)
        np.testing.assert_array_equal(released, drawn("1222233333"))
        kept = refine_once(coarse, whole(too_few), refine_iou=0.3)
        np.testing.assert_array_equal(kept, drawn("1222222223"))

    def test_released_pixels_between_two_neighbours_are_shared(self) -> None:
        coarse = drawn("1111111111", "2111111113", "1111111111")
        finer = drawn("1111111111", "0000110000", "1111111111")
        result = refine_once(coarse, whole(finer), refine_iou=0.7)
        np.testing.assert_array_equal(result, drawn("1111111111", "2222113333", "1111111111"))

    def test_released_pixels_that_touch_no_other_segment_stay(self) -> None:
        coarse = drawn("111112", "111112", "111112", "111112")
        finer = drawn("111102", "101102", "111102", "111102")
        expected = drawn("111122", "111122", "111122", "111122")
        np.testing.assert_array_equal(refine_once(coarse, whole(finer), refine_iou=0.7), expected)

    def test_released_pixels_can_become_background(self) -> None:
        coarse, finer = drawn("0011111", "0011111"), drawn("0001111", "0001111")
        np.testing.assert_array_equal(refine_once(coarse, whole(finer)), finer)

    def test_half_of_a_neighbour_may_be_taken_but_not_more(self) -> None:
        coarse = drawn("1111111111", "1111111111", "1111112222")
        half = drawn("1111111111", "1111111111", "1111111100")
        more = drawn("1111111111", "1111111111", "1111111110")
        np.testing.assert_array_equal(refine_once(coarse, whole(half)), half + (half == 0) * 2)
        np.testing.assert_array_equal(refine_once(coarse, whole(more)), coarse)

    def test_a_label_is_replaced_by_one_segment_of_a_patch_only(self) -> None:
        coarse, finer = drawn("1111111111"), drawn("1111112222")
        result = refine_once(coarse, whole(finer), refine_iou=0.2)
        np.testing.assert_array_equal(result, finer)


class TestSubdividing:
    def test_a_small_object_inside_a_large_one_appears(self) -> None:
        coarse, finer = np.ones((30, 30), dtype=np.int64), np.full((30, 30), 4)
        finer[5:15, 5:15] = 9
        np.testing.assert_array_equal(refine(coarse, [whole(finer)]), 1 + (finer == 9))

    def test_also_next_to_a_neighbour_when_its_container_is_replaced(self) -> None:
        coarse = drawn("111112", "111112", "111111", "111111")
        finer = drawn("111332", "111332", "111111", "111111")
        expected = drawn("111223", "111223", "111111", "111111")
        np.testing.assert_array_equal(refine_once(coarse, whole(finer), refine_iou=0.7), expected)

    def test_specks_do_not(self) -> None:
        coarse, finer = np.ones((30, 30), dtype=np.int64), np.zeros((30, 30), dtype=np.int64)
        finer[0, 0:9] = finer[1:10, 0:10] = 1
        assert finer.sum() == 99
        np.testing.assert_array_equal(refine(coarse, [whole(finer)]), coarse)
        np.testing.assert_array_equal(refine(coarse, [whole(finer)], min_area=99), 2 - finer)

    def test_a_piece_cut_by_an_inner_border_does_not(self) -> None:
        coarse, finer = np.ones((6, 6), dtype=np.int64), drawn("0000", "2000", "2000", "0000")
        for turned in (np.rot90(finer, turns) for turns in range(4)):
            np.testing.assert_array_equal(refine_once(coarse, (turned, (1, 1, 5, 5))), coarse)
        at_image_border = refine_once(coarse, (finer, (0, 1, 4, 5)))
        np.testing.assert_array_equal(at_image_border[2:4, 0], [2, 2])

    def test_a_cut_piece_is_not_released_to_a_neighbour_either(self) -> None:
        coarse = drawn("11111111", "11111111", "11111112", "11111112")
        finer = drawn("311111", "311111", "111112", "111112")
        np.testing.assert_array_equal(refine_once(coarse, Patch(finer, (2, 0, 8, 4))), coarse)

    def test_a_piece_covering_two_segments_is_dropped(self) -> None:
        coarse, finer = drawn("11112222", "11112222"), drawn("00333000", "00333000")
        np.testing.assert_array_equal(refine_once(coarse, whole(finer)), coarse)

    def test_only_pixels_inside_the_container_are_taken(self) -> None:
        coarse, finer = drawn("1111111122222222"), drawn("0000333330000000")
        result = refine_once(coarse, whole(finer), contain=0.8)
        np.testing.assert_array_equal(result, drawn("1111222233333333"))

    def test_the_larger_part_keeps_the_label_and_no_pixel_is_lost(self) -> None:
        coarse, finer = np.full((1, 10), 3), drawn("5555557777")
        merged = merge_patches(coarse, [whole(finer)], min_area=1, refine_iou=0.8, contain=0.9)
        np.testing.assert_array_equal(merged[0] == 3, finer[0] == 5)
        assert len(set(merged[0, 6:].tolist())) == 1

    def test_of_equal_parts_the_last_keeps_the_label(self) -> None:
        coarse, finer = np.full((1, 9), 3), drawn("555666777")
        merged = merge_patches(coarse, [whole(finer)], min_area=1, refine_iou=1.0, contain=0.9)
        np.testing.assert_array_equal(merged, drawn("444555333"))

    def test_a_later_patch_subdivides_what_an_earlier_one_made(self) -> None:
        coarse = drawn("11111111")
        patches = [whole(drawn("00002222")), whole(drawn("00000033"))]
        np.testing.assert_array_equal(refine(coarse, patches, min_area=1), drawn("11112233"))


class TestBackground:
    def test_contains_a_new_object(self) -> None:
        coarse, finer = drawn("00000", "00001"), drawn("02200", "02201")
        np.testing.assert_array_equal(refine_once(coarse, whole(finer)), drawn("01100", "01102"))

    def test_may_be_used_up(self) -> None:
        coarse, finer = drawn("0001", "0001"), drawn("2221", "2221")
        np.testing.assert_array_equal(refine_once(coarse, whole(finer)), drawn("1112", "1112"))

    def test_is_not_what_a_finer_segment_replaces(self) -> None:
        coarse, finer = drawn("0001", "0001", "0001"), drawn("2221", "2221")
        np.testing.assert_array_equal(refine_once(coarse, Patch(finer, (0, 0, 4, 2))), coarse)
