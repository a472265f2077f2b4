"""Orders and splits by hash: fair prefixes, the same on every machine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.datasets.base import balanced_order, hash_key, hash_split


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 40), min_size=1, max_size=5))
def test_every_prefix_of_the_balanced_order_is_fair(sizes):
    groups = {g: [f"{g}/{n}" for n in range(size)] for g, size in sizes.items()}
    order = balanced_order(groups)
    assert len(order) == sum(sizes.values())
    for length in range(1, len(order) + 1):
        for group, size in sizes.items():
            held = sum(g == group for g, _ in order[:length])
            # Each group is off by at most half an image; those of the others add up.
            assert abs(held - length * size / len(order)) <= 1 + len(sizes) / 2


def test_hash_does_not_depend_on_the_process():
    assert hash_key("nominal/textile_0001.jpg") == 9470915252892919924
    assert hash_split(["b", "a", "c", "d"], None) == hash_split(["d", "c", "b", "a"], None)
