"""What every network must do, whatever its kind."""

import math

import pytest
import torch

from bunchtrain import registry
from bunchtrain.config import literals
from bunchtrain.levels import Logits
from bunchtrain.models.base import Shape, build, load_model, save_model

SHAPE = Shape(nodes=7, globals=3, outputs=3, node_outputs=2, edge_outputs=1)
#: Networks that tell jets apart; those of graphs of hits are in test_graph_models, autoencoders in test_latent.
KINDS = [
    kind
    for kind in registry.kinds("models")
    if (literals.rows("models", kind), literals.answers("models", kind)) == ("jets", "classes")
]
#: Those that see constituents, and those that answer for them.
OF_CONSTITUENTS = [kind for kind in KINDS if not literals.sees_variables(kind)]


def shape_for(kind, **wanted):
    """What a kind can be asked for: answers on its levels."""
    outputs = {"graph": "outputs", "nodes": "node_outputs", "edges": "edge_outputs"}
    none = {name: 0 for level, name in outputs.items() if level not in literals.given(kind)}
    return SHAPE._replace(**{**wanted, **none})


def jets(batch=6, particles=12, seed=0):
    """Scaled features of random jets with 1 to `particles` constituents."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(particles) < torch.randint(1, particles + 1, (batch, 1), generator=generator)
    nodes = torch.randn(batch, particles, 7, generator=generator, dtype=torch.float64) * mask[..., None]
    p3 = 10 * torch.randn(batch, particles, 3, generator=generator, dtype=torch.float64)
    momenta = torch.cat([p3, p3.norm(dim=-1, keepdim=True)], -1) * mask[..., None]
    return nodes, momenta, torch.randn(batch, 3, generator=generator, dtype=torch.float64), mask


@pytest.fixture(params=KINDS)
def model(request):
    torch.manual_seed(0)
    return build({"kind": request.param}, shape_for(request.param)).double().eval()


def alike(found, expected, **tolerance):
    """Compare a network's answers on all levels."""
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **tolerance)


def real(logits, mask):
    """Set answers that mean nothing, of padding, to zero."""
    pairs = (mask[:, :, None] & mask[:, None])[..., None]
    return Logits(logits.graph_BC, logits.nodes_BPC * mask[..., None], logits.edges_BPPC * pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_have_the_widths_that_were_asked_for(kind):
    shape = shape_for(kind)
    found = [tuple(one.shape) for one in build({"kind": kind}, shape).double()(*jets())]
    assert found == [(6, 3), (6, 12, shape.node_outputs), (6, 12, 12, shape.edge_outputs)]


@pytest.mark.parametrize("kind", OF_CONSTITUENTS)
def test_a_level_that_nobody_asked_for_has_no_weights_and_no_answers(kind):
    torch.manual_seed(0)
    alone = build({"kind": kind}, Shape(nodes=7, globals=3, outputs=0, node_outputs=2)).double()
    assert [tuple(one.shape) for one in alone(*jets())] == [(6, 0), (6, 12, 2), (6, 12, 12, 0)]
    assert not [name for name, _ in alone.named_parameters() if name.startswith(("head", "edge_head"))]
    alone(*jets()).nodes_BPC.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in alone.parameters())


def test_permuting_constituents_permutes_answers_about_them(model):
    nodes, momenta, globals_, mask = jets()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    permuted = real(model(nodes[:, order], momenta[:, order], globals_, mask[:, order]), mask[:, order])
    graph, of_nodes, of_edges = real(model(nodes, momenta, globals_, mask), mask)
    expected = (graph, of_nodes[:, order], of_edges[:, order][:, :, order])
    alike(permuted, expected, rtol=1e-10, atol=1e-10)


def test_a_pair_has_no_first_and_second(model):
    _, _, of_edges = model(*jets())
    torch.testing.assert_close(of_edges, of_edges.transpose(1, 2), rtol=1e-10, atol=1e-10)


def test_more_padding_changes_nothing(model):
    nodes, momenta, globals_, mask = jets()

    def pad(x):
        return torch.cat([x, torch.zeros(6, 9, *x.shape[2:], dtype=x.dtype)], 1)

    graph, of_nodes, of_edges = real(model(pad(nodes), pad(momenta), globals_, pad(mask)), pad(mask))
    expected = real(model(nodes, momenta, globals_, mask), mask)
    alike((graph, of_nodes[:, :12], of_edges[:, :12, :12]), expected, rtol=1e-10, atol=1e-10)


def test_one_constituent_and_none_are_finite(model):
    nodes, momenta, globals_, mask = jets()
    mask[0], mask[1] = False, torch.arange(12) < 1
    nodes, momenta = nodes * mask[..., None], momenta * mask[..., None]
    assert all(torch.isfinite(one).all() for one in model(nodes, momenta, globals_, mask))


@pytest.mark.parametrize("kind", OF_CONSTITUENTS)
def test_further_node_features_are_seen(kind):
    torch.manual_seed(0)
    model = build({"kind": kind}, Shape(nodes=9, globals=3, outputs=3, inputs=2)).double().eval()
    nodes, momenta, globals_, mask = jets()
    further = torch.randn(6, 12, 2, dtype=torch.float64) * mask[..., None]
    seen = [torch.cat([nodes, values], -1) for values in (further, 2 * further)]
    answers = [model(values, momenta, globals_, mask).graph_BC for values in seen]
    assert (answers[0] - answers[1]).abs().amax(1).min() > 1e-6


def test_every_weight_learns(model):
    sum(one.square().sum() for one in model(*jets())).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_encode_and_decide_are_the_whole(model):
    inputs = jets()
    alike(model.decide(model.encode(*inputs)), model(*inputs), rtol=0, atol=0)
    some = model.decide(model.encode(*inputs), ("nodes",))
    assert some.graph_BC.shape[-1] == some.edges_BPPC.shape[-1] == 0
    assert torch.equal(some.nodes_BPC, model(*inputs).nodes_BPC)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    torch.manual_seed(3)
    shape = shape_for(kind)
    model = build({"kind": kind}, shape).eval()
    save_model(tmp_path, model, {"model": {"kind": kind}, "shape": shape._asdict(), "classes": ["a", "b", "c"]})
    loaded, card = load_model(tmp_path)
    inputs = tuple(x.float() if x.is_floating_point() else x for x in jets())
    assert all(map(torch.equal, loaded(*inputs), model(*inputs))) and card["classes"] == ["a", "b", "c"]


def boost(velocity, axis):
    """The matrix of a boost along an axis, on (px, py, pz, energy)."""
    gamma = (1 - velocity**2) ** -0.5
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[axis, axis] = matrix[3, 3] = gamma
    matrix[axis, 3] = matrix[3, axis] = -gamma * velocity
    return matrix


def turn(angle, one, other):
    """The matrix of a rotation in the plane of two axes."""
    matrix = torch.eye(4, dtype=torch.float64)
    cosine, sine = math.cos(angle), math.sin(angle)
    matrix[one, one] = matrix[other, other] = cosine
    matrix[one, other], matrix[other, one] = -sine, sine
    return matrix


@pytest.mark.parametrize(
    "frame",
    [boost(0.9, 2), boost(-0.5, 0), turn(1.0, 0, 1), turn(2.0, 1, 2), boost(0.7, 1) @ turn(0.4, 0, 2)],
    ids=["along the beam", "across it", "about the beam", "about another axis", "both"],
)
def test_the_equivariant_network_answers_the_same_in_every_frame(frame):
    torch.manual_seed(0)
    model = build({"kind": "lorentz", "layers": 3}, SHAPE._replace(inputs=2)).double().eval()
    nodes, momenta, globals_, mask = jets()
    turned = model(nodes, momenta @ frame.T, globals_, mask)
    alike(turned, model(nodes, momenta, globals_, mask), rtol=1e-6, atol=1e-8)
    assert (momenta @ frame.T - momenta).abs().max() > 1


def test_single_precision_keeps_the_equivariant_network_through_a_moderate_boost():
    torch.manual_seed(0)
    model = build({"kind": "lorentz"}, SHAPE).eval()
    nodes, momenta, globals_, mask = jets()
    boosted = momenta @ boost(math.tanh(1.0), 2).T
    before, after = (model(nodes.float(), p4.float(), globals_.float(), mask) for p4 in (momenta, boosted))
    torch.testing.assert_close(after.graph_BC, before.graph_BC, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["gnn", "edgeconv", "transformer", "interaction"])
def test_rotating_about_the_beam_and_boosting_along_it_changes_no_network_of_angles(kind):
    torch.manual_seed(0)
    model = build({"kind": kind}, SHAPE).double().eval()
    nodes, momenta, globals_, mask = jets()
    frame = boost(0.6, 2) @ turn(2.5, 0, 1)
    turned = real(model(nodes, momenta @ frame.T, globals_, mask), mask)
    alike(turned, real(model(nodes, momenta, globals_, mask), mask), rtol=1e-6, atol=1e-8)
