from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import harness.plan
from harness.plan import Plan, PlanSpec

S = 1_000_000_000

VECTORS = [
    (
        PlanSpec("constant", 100.0, 1, S),
        100,
        [0, 10000000, 20000000, 30000000],
        "81942cde83f4369f32ab47d1039d6be5516bd07710e7214292d66e94b6bed862",
    ),
    (
        PlanSpec("constant", 3.0, 1, 10 * S),
        30,
        [0, 333333333, 666666667, 1000000000],
        "0e8cdfe0a912c99ae4e2649e6848c9ccf9996aab689f565249e1a6f347c35704",
    ),
    (
        PlanSpec("constant", 0.7, 1, 20 * S),
        14,
        [0, 1428571429, 2857142857, 4285714286],
        "64124717112c8179bfcbe6c2a628bc5121dfa8cd8bb84f8d7bde5697cbf00655",
    ),
    (
        PlanSpec("constant", 20000.0, 1, S // 2),
        10000,
        [0, 50000, 100000, 150000],
        "51a84e57ebe3fc13ada3305260af177187f72300fd4f23879d81ee534161cbf2",
    ),
    (
        PlanSpec("poisson", 100.0, 1, S),
        87,
        [27423562, 27794324, 33646182, 44170249],
        "027f3904c5076e6d463ef431dd9dd987d03ff5bedba2618fffd4a3ceea7eb14d",
    ),
    (
        PlanSpec("poisson", 100.0, 2, S),
        91,
        [24000214, 29907738, 35848103, 48095573],
        "e54913f0bb188573f46acf79f4586294cfbfabb8a24556e21e38f0a49ec82cc5",
    ),
    (
        PlanSpec("poisson", 2000.0, 7, 60 * S),
        120215,
        [598671, 632770, 1711748, 3182684],
        "d0ee2549fcbe71c8f0670d597f32ab55d1e61ba4b0243a348e34c5aefa337de8",
    ),
    (
        PlanSpec("poisson", 0.5, 3, 60 * S),
        29,
        [418606478, 2792873443, 4328126985, 4823369139],
        "ea1dff5d37db7386bdec496a1440aae47ffac9e1b8234090e2c3356583cc4f7d",
    ),
    (
        PlanSpec("poisson", 1234.567, 2**63, 5 * S),
        6274,
        [477429, 645923, 991025, 1445410],
        "f4850818519848c0ec822e90d75c2741ce81e363507d669f842ca34a6337ed93",
    ),
    (
        PlanSpec("poisson", 1e6, 11, S // 10),
        100489,
        [3365, 6578, 7734, 8101],
        "c615c695c4c0f45e5e6e35f25fa093ef88fecc2eaff783e58992116525269201",
    ),
]

SPECS = st.builds(
    PlanSpec,
    st.sampled_from(["constant", "poisson"]),
    st.floats(0.01, 1e5),
    st.integers(0, 2**64),
    st.integers(1, S // 100),
)


def offsets_of(spec):
    return np.concatenate([np.empty(0, np.int64), *(chunk.copy() for chunk in spec.chunks())])


def hash_of(offsets_ns):
    return sha256(np.asarray(offsets_ns, dtype="<i8").tobytes()).hexdigest()


@pytest.mark.parametrize(("spec", "slots", "first", "digest"), VECTORS)
def test_vectors(spec, slots, first, digest):
    facts = spec.facts()
    assert (facts.slots, facts.hash) == (slots, digest)
    assert next(spec.chunks())[: len(first)].tolist() == first
    assert hash_of(offsets_of(spec)) == digest


@pytest.mark.parametrize("spec", [vector[0] for vector in VECTORS if vector[0].dist == "poisson"])
def test_poisson_is_numpys_stream_of_exponentials(spec):
    sequence = np.random.SeedSequence(spec.seed, spawn_key=(0,))
    generator = np.random.Generator(np.random.PCG64(sequence))
    slots = spec.facts().slots
    gaps_ns = np.rint(generator.standard_exponential(slots + 1) * (1e9 / spec.rate))
    expected = np.cumsum(gaps_ns.astype(np.int64))
    assert np.array_equal(offsets_of(spec), expected[:-1])
    assert expected[-1] >= spec.duration_ns


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(
    "spec", [PlanSpec("poisson", 1234.567, 5, 3 * S), PlanSpec("constant", 777.7, 5, 3 * S)]
)
def test_the_shares_of_any_number_of_workers_make_the_same_plan(spec, workers):
    merged = {}
    for worker in range(workers):
        plan = spec.open()
        while (share := plan.next_share(worker, workers)) is not None:
            index, offset_ns = share
            assert index % workers == worker
            assert index not in merged
            merged[index] = offset_ns
        assert plan.next_share(worker, workers) is None
    assert sorted(merged) == list(range(spec.facts().slots))
    assert hash_of([merged[index] for index in sorted(merged)]) == spec.facts().hash


def test_another_seed_is_another_poisson_plan():
    hashes = {PlanSpec("poisson", 1000.0, seed, S).facts().hash for seed in range(50)}
    assert len(hashes) == 50
    constant = {PlanSpec("constant", 1000.0, seed, S).facts().hash for seed in range(5)}
    assert len(constant) == 1


@given(SPECS)
def test_slots_lie_in_the_duration_and_never_go_back(spec):
    offsets_ns = offsets_of(spec)
    assert (offsets_ns >= 0).all()
    assert (offsets_ns < spec.duration_ns).all()
    assert (np.diff(offsets_ns) >= 0).all()


@given(rate_micro=st.integers(1, 10**15), slots=st.integers(1, 3000), beyond=st.integers(0, 10))
def test_constant_slots_are_exact(rate_micro, slots, beyond):
    gap_ns = Fraction(10**15, rate_micro)
    duration_ns = max(1, min(int(slots * gap_ns) + beyond, 2**62))
    rate = rate_micro / 1e6
    rate_micro = round(Fraction(rate) * 10**6)
    gap_ns = Fraction(10**15, rate_micro)
    expected = []
    while (offset_ns := int(len(expected) * gap_ns + Fraction(1, 2))) < duration_ns:
        expected.append(offset_ns)
    found = np.full(len(expected) + 2, -1, dtype=np.int64)
    assert Plan("constant", rate, 1, duration_ns).fill(found) == len(expected)
    assert found[: len(expected)].tolist() == expected


def test_constant_has_not_drifted_after_a_day():
    plan = Plan("constant", 0.3, 1, 86_400 * S)
    offsets_ns = np.empty(30_000, dtype=np.int64)
    assert plan.fill(offsets_ns) == 25_920
    assert offsets_ns[25_919] == int(Fraction(25_919 * 10 * S, 3) + Fraction(1, 2))


@given(SPECS, st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_pieces_of_any_size_make_the_same_plan(spec, sizes):
    whole = offsets_of(spec)
    plan = spec.open()
    pieces = []
    for size in [*sizes, len(whole) + 1]:
        piece = np.full(size, -7, dtype=np.int64)
        pieces.append(piece[: plan.fill(piece)])
    assert np.array_equal(np.concatenate(pieces), whole)
    assert plan.fill(np.empty(5, dtype=np.int64)) == 0


def test_chunks_are_independent_of_their_size(monkeypatch):
    spec = PlanSpec("poisson", 1e5, 9, S)
    facts, until = spec.facts(), spec.slots_until(S // 3)
    for chunk in (1009, 65536, 1 << 20):
        monkeypatch.setattr(harness.plan, "CHUNK", chunk)
        assert spec.facts() == facts
        assert spec.slots_until(S // 3) == until
        assert all(len(offsets_ns) <= chunk for offsets_ns in spec.chunks())


@given(SPECS, st.integers(-5, S // 50))
def test_slots_until(spec, cut_ns):
    assert spec.slots_until(cut_ns) == np.count_nonzero(offsets_of(spec) <= cut_ns)


def test_slots_until_counts_a_slot_at_the_cut():
    spec = PlanSpec("constant", 10.0, 1, S)
    assert [spec.slots_until(ns) for ns in (-1, 0, 99_999_999, 100_000_000, S)] == [0, 1, 1, 2, 10]


def test_poisson_gaps_are_exponential():
    passed = 0
    for seed in range(100):
        spec = PlanSpec("poisson", 2000.0, seed, 2 * S)
        gaps_ns = np.diff(offsets_of(spec), prepend=0)
        passed += stats.kstest(gaps_ns, "expon", args=(0, S / spec.rate)).pvalue > 0.01
    assert passed >= 95


def test_poisson_counts_are_dispersed_as_poisson():
    counts = np.array([PlanSpec("poisson", 1000.0, seed, S).facts().slots for seed in range(300)])
    assert abs(counts.mean() - 1000) < 4 * np.sqrt(1000 / 300)
    low, high = stats.chi2.ppf([0.001, 0.999], 299) / 299
    assert low < counts.var(ddof=1) / 1000 < high


@settings(max_examples=20)
@given(SPECS)
def test_a_plan_opened_again_starts_over(spec):
    assert np.array_equal(offsets_of(spec), offsets_of(spec))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("uniform", 1.0, 1, S), "unknown dist 'uniform'"),
        (("constant", 0.0, 1, S), "rate must be within"),
        (("constant", -1.0, 1, S), "rate must be within"),
        (("poisson", float("nan"), 1, S), "rate must be within"),
        (("poisson", float("inf"), 1, S), "rate must be within"),
        (("poisson", 2e9, 1, S), "rate must be within"),
        (("poisson", 9e-7, 1, S), "rate must be within"),
        (("poisson", 1.0, 1, 0), "duration must be positive"),
        (("poisson", 1.0, 1, -1), "duration must be positive"),
        (("poisson", 1.0, -1, S), "non-negative"),
    ],
)
def test_values_out_of_range(arguments, said):
    with pytest.raises(ValueError, match=said):
        Plan(*arguments)


def test_only_whole_arrays_of_int64_are_filled():
    plan = Plan("constant", 100.0, 1, S)
    with pytest.raises(ValueError, match="dtype"):
        plan.fill(np.empty(4, dtype=np.float64))
    with pytest.raises(ValueError, match="contiguous"):
        plan.fill(np.empty(8, dtype=np.int64)[::2])
    with pytest.raises(TypeError):
        plan.fill(None)


@given(st.integers(1, 8), st.integers(0, 100))
def test_a_closed_plan_has_no_times_and_ends_with_its_limit(workers, limit):
    shares = []
    for worker in range(workers):
        plan = Plan("closed", 0.0, 1, S, limit)
        assert plan.closed
        while (slot := plan.next_share(worker, workers)) is not None:
            shares.append(slot)
        assert plan.next_share(worker, workers) is None
    assert sorted(shares) == [(index, 0) for index in range(limit)]


def test_a_closed_plan_without_a_limit_goes_on():
    plan = Plan("closed", 0.0, 1, 1)
    offsets_ns = np.full(100_000, -1, dtype=np.int64)
    assert plan.fill(offsets_ns) == len(offsets_ns)
    assert not offsets_ns.any()
    assert plan.next_share(0, 1) == (100_000, 0)


def test_an_open_plan_ends_with_its_limit_too():
    plan = Plan("constant", 1000.0, 1, S, 5)
    assert not plan.closed
    offsets_ns = np.empty(10, dtype=np.int64)
    assert plan.fill(offsets_ns) == 5
    assert offsets_ns[4] == 4_000_000


def test_a_closed_loop_has_no_hash_and_nothing_to_walk():
    spec = PlanSpec("closed", None, 1, S)
    assert spec.closed
    assert spec.facts() == harness.plan.PlanFacts(0, None)
    assert list(spec.chunks()) == []
    assert spec.expected_slots == 0
