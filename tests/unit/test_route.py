"""The way to a release is the one that reads least."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from holdall.journeys.route import Edge, Route, cheapest

PLACES = [bytes((letter,)) for letter in b"abcde"]


def edge(start: str, end: str, cost: int, increment: int = 0, base: int = 0) -> Edge:
    return Edge(start.encode(), end.encode(), cost, increment, base)


def costs(**starts: int) -> dict[bytes, int]:
    return {name.encode(): cost for name, cost in starts.items()}


def test_what_is_at_hand_needs_no_step() -> None:
    assert cheapest(costs(a=0), [edge("a", "b", 1)], b"a") == Route(b"a", (), 0)


def test_without_a_way_there_is_none() -> None:
    edges = [edge("a", "b", 1), edge("c", "d", 1)]
    assert cheapest(costs(a=0), edges, b"d") is None
    assert cheapest({}, edges, b"b") is None


def test_increments_follow_one_another() -> None:
    first, second = edge("a", "b", 5), edge("b", "c", 7, 1)
    assert cheapest(costs(a=0), [second, first], b"c") == Route(b"a", (first, second), 12)


def test_two_small_steps_may_be_cheaper_than_a_large_one() -> None:
    steps = (edge("a", "b", 5), edge("b", "c", 7, 1))
    long = edge("a", "c", 13, 2)
    assert cheapest(costs(a=0), [long, *steps], b"c") == Route(b"a", steps, 12)
    assert cheapest(costs(a=0), [long._replace(cost=11), *steps], b"c") == Route(
        b"a", (long._replace(cost=11),), 11
    )


def test_of_equal_ways_the_shorter_is_taken() -> None:
    steps = (edge("a", "b", 5), edge("b", "c", 5, 1))
    long = edge("a", "c", 10, 2)
    assert cheapest(costs(a=0), [*steps, long], b"c") == Route(b"a", (long,), 10)


def test_of_equal_starts_the_first_is_taken() -> None:
    edges = [edge("b", "c", 3, 0, 1), edge("a", "c", 3, 0, 0)]
    assert cheapest(costs(a=0, b=0), edges, b"c") == Route(b"a", (edges[1],), 3)
    assert cheapest(costs(b=0, a=0), edges, b"c") == Route(b"b", (edges[0],), 3)


def test_a_full_bundle_is_taken_when_less_of_it_must_be_read() -> None:
    edges = [edge("a", "b", 50)]
    assert cheapest(costs(a=0, b=49), edges, b"b") == Route(b"b", (), 49)
    assert cheapest(costs(a=0, b=51), edges, b"b") == Route(b"a", tuple(edges), 50)


def test_a_circle_ends() -> None:
    edges = [edge("a", "b", 0), edge("b", "a", 0, 1), edge("b", "c", 1, 2)]
    assert cheapest(costs(a=0), edges, b"c") == Route(b"a", (edges[0], edges[2]), 1)


@given(
    st.dictionaries(st.sampled_from(PLACES), st.integers(0, 9), max_size=3),
    st.lists(
        st.builds(
            Edge,
            st.sampled_from(PLACES),
            st.sampled_from(PLACES),
            st.integers(0, 9),
            st.just(0),
            st.just(0),
        ),
        max_size=8,
    ),
    st.sampled_from(PLACES),
)
def test_no_other_way_costs_less(starts: dict[bytes, int], edges: list[Edge], goal: bytes) -> None:
    best = dict(starts)
    for _, item in product(PLACES, edges):
        if item.start in best:
            cost = best[item.start] + item.cost
            best[item.end] = min(cost, best.get(item.end, cost))
    route = cheapest(starts, edges, goal)
    assert (None if route is None else route.cost) == best.get(goal)
    if route is not None:
        at = route.start
        for step in route.steps:
            assert step.start == at
            at = step.end
        assert at == goal
        assert starts[route.start] + sum(step.cost for step in route.steps) == route.cost
