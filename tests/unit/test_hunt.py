"""The blind search: fits beside windows, look-elsewhere, masses, classifiers without labels."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bunchtrain.config.hunt import Hunt
from bunchtrain.config.specs import SensitivitySpec
from bunchtrain.errors import InputError
from bunchtrain.hunt import classify, data, peak, significance, spectrum
from bunchtrain.hunt.peak import Template
from bunchtrain.hunt.search import Events, hunt, scan
from bunchtrain.hunt.sensitivity import sensitivity
from bunchtrain.hunt.spectrum import Spectra, edges, excess
from bunchtrain.hunt.windows import Window, windows

ENERGY = 13000.0
EDGES = edges(1400, 4000, 0.02)
QUICK = Hunt(
    low=1400, high=4000, step=0.12, folds=3, ensemble=1, trees=20, leaves=8, cuts=[0.1, 0.02], pseudo_experiments=50
)


@pytest.fixture(autouse=True)
def one_thread():
    """More wait for one another, on a machine that has other work."""
    with classify.threads(1):
        yield


def rates(number, fourth=-0.15):
    """Expected entries of a falling spectrum in the bins."""
    x = np.sqrt(EDGES[1:] * EDGES[:-1]) / ENERGY
    found = (1 - x) ** 10 * x ** (-4.5 + fourth * np.log(x)) * np.diff(EDGES)
    return found * number / found.sum()


def spectra(number, count, seed=1, **options):
    counts = np.random.default_rng(seed).poisson(rates(number, **options), (count, len(EDGES) - 1))
    return Spectra(counts.astype(float), EDGES, ENERGY)


def events(number, seed, signal=0, mass=2000.0):
    """Pairs whose features do not depend on their mass, and a signal in a corner of the features."""
    random = np.random.default_rng(seed)
    share = rates(1.0).cumsum()
    place = np.searchsorted(share, random.random(number) * share[-1])
    found = random.uniform(EDGES[place], EDGES[place + 1])
    features = random.exponential(0.1, (number, 3))
    found = np.concatenate([found, mass * random.normal(0.98, 0.04, signal)])
    features = np.concatenate([features, random.normal([0.4, 0.4, 0.3], 0.05, (signal, 3))])
    order = random.permutation(len(found))
    return Events(found[order], features[order], ENERGY), order >= number


def test_the_fit_recovers_the_parameters_that_made_the_data():
    made = Spectra(rates(1e7)[None], EDGES, ENERGY)
    found = excess(made, made.inside(1900, 2300))
    _, p2, p1, p3 = found.fitted_SP[0]
    assert p1 == pytest.approx(10, abs=0.05) and p2 == pytest.approx(-4.5, abs=0.05)
    assert p3 == pytest.approx(-0.15, abs=0.01)
    assert found.expected_S[0] == pytest.approx(rates(1e7)[made.inside(1900, 2300)].sum(), rel=1e-5)
    assert abs(found.z_S[0]) < 0.05


@pytest.mark.parametrize(("number", "low"), [(30000, 1600), (30000, 2400), (3000, 1900), (600, 1800)])
def test_local_p_values_are_uniform_where_there_is_nothing(number, low):
    found = spectra(number, 1500, seed=low)
    told = excess(found, found.inside(low, 1.2 * low))
    assert stats.kstest(told.p_S, "uniform").pvalue > 1e-3
    true = rates(number)[found.inside(low, 1.2 * low)].sum()
    pulls = (told.expected_S - true) / told.error_S
    assert abs(pulls.mean()) < 0.15 and 0.85 < pulls.std() < 1.15


def test_the_significance_of_a_known_excess():
    """With a background that is almost known, the profile likelihood is that of a counting experiment."""
    made = rates(3e6)
    inside = Spectra(made[None], EDGES, ENERGY).inside(2000, 2100)
    expected, more = made[inside].sum(), 900.0
    made[inside] *= 1 + more / expected
    told = excess(Spectra(made[None], EDGES, ENERGY), inside)
    error = np.hypot(np.sqrt(expected), told.error_S[0])
    assert told.z_S[0] == pytest.approx(more / error, rel=0.02)
    assert told.observed_S[0] - told.expected_S[0] == pytest.approx(more, rel=0.02)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 40), min_size=len(EDGES) - 1, max_size=len(EDGES) - 1), st.integers(1500, 3000))
def test_any_spectrum_is_fitted(counts, low):
    made = Spectra(np.array([counts], float), EDGES, ENERGY)
    told = excess(made, made.inside(low, 1.2 * low))
    for values in (told.expected_S, told.error_S, told.z_S, told.background_SM):
        assert np.isfinite(values).all()
    assert 0 <= told.p_S[0] <= 1 and np.sign(told.z_S[0]) in (0, np.sign(told.observed_S[0] - told.expected_S[0]))


def test_goodness_of_fit_is_uniform_and_sees_a_wrong_shape():
    found = spectra(30000, 300)
    none = np.zeros(len(EDGES) - 1, bool)
    fitted = excess(found, none).background_SM
    chances = [spectrum.goodness(*pair, 4)[2] for pair in zip(found.counts_SM, fitted, strict=True)]
    assert stats.kstest(chances, "uniform").pvalue > 1e-4
    wrong = found.counts_SM[0] * (1 + 0.2 * np.sin(np.arange(len(EDGES) - 1)))
    assert spectrum.goodness(wrong, fitted[0], 4)[2] < 1e-6


def made_tests(seed, cuts=(0.1, 0.02)):
    """Windows and cuts of a spectrum of nothing, the cuts at random."""
    random = np.random.default_rng(seed)
    ranges = [Window(float(EDGES[at]), float(EDGES[at + 9])) for at in (6, 15, 24)]
    whole = random.poisson(rates(20000))
    counts = []
    for _ in ranges:
        rows = [whole]
        for share, before in zip(cuts, (1.0, *cuts), strict=False):
            rows.append(random.binomial(rows[-1], share / before))
        counts.append(rows)
    return significance.tested(ranges, EDGES, ENERGY, np.array(counts, float))


def test_the_global_p_value_is_uniform_over_experiments_of_nothing():
    """Each experiment is judged by the pseudo-experiments of another one."""
    largest = np.array([made_tests(seed).z_WC.max() for seed in range(120)])
    worth = significance.overall(made_tests(1000), 400, 7)
    chances = [significance.judged(z, worth.largest).p for z in largest]
    assert stats.kstest(chances, "uniform").pvalue > 1e-3
    assert 3 < worth.trials < 30  # nine tests, the first cut shared


def test_pseudo_experiments_and_trials_agree_where_both_know():
    largest = stats.norm.isf(1 - (1 - np.random.default_rng(3).random(20000)) ** (1 / 12))  # twelve independent trials
    counted = significance.judged(3.0, largest)
    assert not counted.extrapolated and counted.trials == pytest.approx(12, rel=0.1)
    assert counted.p == pytest.approx(1 - stats.norm.cdf(3.0) ** 12, rel=0.3)
    far = significance.judged(8.0, largest)
    assert far.extrapolated and far.p == pytest.approx(counted.trials * stats.norm.sf(8.0), rel=0.05)
    assert far.z > 7


def test_the_found_mass_is_unbiased_and_its_error_is_right():
    random = np.random.default_rng(5)
    template, found = Template(random.normal(0.98, 0.04, 2000)), []
    for _ in range(40):
        mass = random.uniform(1900, 2300)
        counts = random.poisson(rates(300) + 60 * template.shares(mass, EDGES)).astype(float)
        window = Window(0.9 * mass, 1.07 * mass)
        one = peak.found(Spectra(counts[None], EDGES, ENERGY), window, template, 3)
        found.append(((one.mass - mass) / one.error, one.mass / mass - 1, one.signal))
    pulls, away, signal = np.array(found).T
    assert abs(pulls.mean()) < 0.5 and 0.6 < pulls.std() < 1.5
    assert abs(away.mean()) < 0.01 and abs(signal.mean() - 60) < 8
    assert template.resolution == pytest.approx(0.04, rel=0.1)


def test_no_event_is_judged_by_what_has_seen_it():
    """Events that are alike in features, and whose mass is at random, cannot be told apart by those of other folds."""
    random = np.random.default_rng(2)
    features = random.random((600, 1)).round(3)
    mass = random.permutation(np.repeat([1900.0, 2100.0, 2300.0], 200))
    fold, window = classify.folds(600, QUICK, 1), Window(2000.0, 2200.0)
    scores = classify.scores(features, mass, fold, window, QUICK, 1)
    inside = window.inside(mass)
    assert abs(scores[inside].mean() - scores[~inside].mean()) < 3 * scores.std() / np.sqrt(200) + 0.02
    changed = mass.copy()
    changed[0] = 2100.0 if mass[0] != 2100 else 1900.0  # its own mass is no matter to its own score
    assert classify.scores(features, changed, fold, window, QUICK, 1)[0] == scores[0]


def test_a_cut_keeps_its_share_of_every_fold():
    random = np.random.default_rng(1)
    scores, fold = random.random(1000), random.integers(0, 4, 1000)
    scores[fold == 2] += 5
    kept = classify.kept(scores, fold, 0.1)
    for one in range(4):
        here = fold == one
        assert kept[here].sum() == round(0.1 * here.sum())
        assert scores[here & kept].min() >= scores[here & ~kept].max()
    ranks = classify.ranks(scores, fold)
    assert ranks.min() >= 0 and ranks.max() < 1 and ranks[kept].min() >= 0.9 - 2 / 200 > ranks[~kept].max() - 3 / 200


def test_a_signal_is_found_where_it_is_and_nothing_where_there_is_none():
    template = Template(np.random.default_rng(1).normal(0.98, 0.04, 2000))
    sample, signal = events(12000, 4, signal=120)
    found = hunt(sample, QUICK, template, 1)
    assert found.overall.z > 5 and found.window.low < 1960 < found.window.high
    assert abs(found.peak.mass - 2000) < 80
    kept = found.kept(QUICK, *found.best)
    assert signal[kept].mean() > 10 * signal.mean()
    nothing = hunt(events(12000, 5)[0], QUICK, template, 1)
    assert nothing.overall.z < 3


def test_the_same_seed_finds_the_same():
    sample, _ = events(6000, 6)
    one, again, other = (scan(sample, QUICK, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.tests.z_WC, again.tests.z_WC) and not np.array_equal(one.scores, other.scores)


def test_too_few_events_are_told():
    with pytest.raises(InputError, match="too few events") as caught:
        windows(QUICK, events(300, 1)[0].mass)
    assert caught.value.details["key"] == "hunt.fewest"
    with pytest.raises(InputError, match="too few events"):
        windows(QUICK, np.zeros(0))


def test_windows_lie_on_bins_and_leave_no_gap():
    ranges = windows(QUICK, events(40000, 1)[0].mass)
    assert len(ranges) > 3
    for one in ranges:
        assert min(abs(EDGES - one.low)) < 1e-6 and min(abs(EDGES - one.high)) < 1e-6
        assert not (one.inside(EDGES[:-1]) & (one.below(EDGES[:-1]) | one.above(EDGES[:-1]))).any()
    assert all(after.low < before.high for before, after in itertools.pairwise(ranges))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"cuts": [0.01, 0.1]}, "from the largest"),
        ({"cuts": [0.1, 0.1]}, "from the largest"),
        ({"step": 0.3}, "would not be searched"),
        ({"bin": 0.1}, "three bins"),
        ({"features": ["tau21"], "scaled": ["mass"]}, "none of the features"),
        ({"features": ["dijet_mass"], "scaled": []}, "whose bump"),
        ({"low": 2000, "high": 1500}, "exceed low"),
        ({"bin": 1e-5}, "0.001"),
        ({"pseudo_experiments": 10**9}, "1000000"),
    ],
)
def test_a_hunt_that_cannot_be_is_refused(values, told):
    with pytest.raises(ValueError, match=told):
        Hunt(**values)


@pytest.mark.parametrize(
    "content",
    [
        '{"template": "none"}',
        '{"template": []}',
        '{"template": [1.0]}',
        '{"template": [[1.0, 1.1], [1.0, 0.9]]}',
        '{"template": [NaN, 1.0]}',
        '{"template": [-1.0, 1.0]}',
        "[]",
        "{}",
    ],
)
def test_a_sensitivity_without_a_template_is_told(tmp_path, content):
    from bunchtrain.hunt.run import _template

    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match="how masses are measured"):
        _template(tmp_path / "a.json")


def test_settings_by_hand_without_a_range_are_told():
    for key in ("low", "high"):
        with pytest.raises(InputError, match="no range of masses") as caught:
            windows(QUICK.model_copy(update={key: None}), np.ones(10))
        assert caught.value.details["key"] == f"hunt.{key}"


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    """Run `sensitivity` on made-up labelled events: `signal` of them at 2000 GeV, and changes of the features."""

    def run(spoil=lambda features: None, mass=2000.0, **settings):
        sample, is_signal = events(4000, 1, signal=200, mass=mass)
        spoil(sample.features)
        monkeypatch.setattr(data, "opened", lambda path: Labelled(is_signal.astype(int)))
        monkeypatch.setattr(data, "events", lambda *_: sample)
        searched = QUICK.model_copy(update={"fewest": 20, "features": ["a", "b", "c"], "scaled": [], **settings})
        spec = SensitivitySpec(
            version=1, seed=1, energy=ENERGY, settings=searched, signal="signal", background="background", mass=2000.0
        )
        sensitivity(spec, tmp_path / "dataset.h5", tmp_path / "out.json")

    return run


class Labelled:
    """An index, as far as `sensitivity` looks."""

    def __init__(self, labels):
        self.labels, self.classes = labels, ["background", "signal"]

    def column(self, name):
        return self.labels


def test_a_feature_that_is_constant_is_named(labelled, tmp_path):
    def flat(features):
        features[:, 1] = 0.0

    with pytest.raises(InputError, match="the same for all events") as caught:
        labelled(flat)
    assert caught.value.details["found"].startswith("b,") and not (tmp_path / "out.json").exists()


def test_a_labelled_signal_beside_all_windows_is_told(labelled):
    with pytest.raises(InputError, match="hardly any labelled signal") as caught:
        labelled(mass=3600.0)
    assert "nearest to 2000 GeV" in caught.value.details["found"]


def test_a_spectrum_beyond_the_energy_of_the_collisions_is_told():
    with pytest.raises(InputError, match="reaches the energy"):
        data.events(None, QUICK, 4000.0)
