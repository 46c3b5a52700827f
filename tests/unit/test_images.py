import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm
from torch.testing import assert_close

import graphgan.images
from graphgan.draws import normal
from graphgan.image_tensor import ImageTensor
from graphgan.images import (
    CascadedDiffusion,
    CrystensGanCritic,
    CrystensGanGenerator,
    CrystensWganCritic,
    CrystensWganGenerator,
    ElucidatedDiffusion,
    ImageCritic,
    ImageGenerator,
    UNet,
)
from graphgan.images.diffusion import ancestral, cosine_log_snr, heun, linear_log_snr
from graphgan.images.networks import ResidualBlock, normalise_spectrum
from graphgan.images.published import BatchNorm, Dropout, FilterNorm
from graphgan.images.unet import Attention, LinearAttention
from graphgan.objectives import OBJECTIVES, NonSaturating, WassersteinGP, gradient_norm
from graphgan.testing import assert_objective
from graphgan.training import Player, Trainer, adversaries

F64 = torch.float64
SHAPES = [(1, 17), (3, 20), (4, 32), (4, 64)]


def draws(*seeds, dtype=torch.float32):
    """A draw that gives every crystal numbers of its own."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return lambda *shape: torch.stack([torch.randn(*shape, generator=g, dtype=dtype) for g in generators])


def images(count, channels, side, seed=0, dtype=torch.float32):
    return ImageTensor(torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed)).to(dtype))


def shaken(network, size=0.1):
    """The network with noise on its weights: layers that are born 0 hide what is behind them."""
    rng = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=rng))
    return network


def small_elucidated(channels, side, **options):
    return ElucidatedDiffusion(channels, side, **{"width": 8, "heads": 2, "head_width": 4, "dense": 8, **options})


def small_cascade(channels, side, **options):
    shape = {"width": 8, "multipliers": (1, 2), "base_blocks": (2, 1), "upper_blocks": (1, 2), "heads": 2}
    return CascadedDiffusion(channels, side, **{**shape, "head_width": 4, "timesteps": 3, **options})


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


MAKERS = {
    "generator": lambda channels, side: ImageGenerator(channels, side, width=8),
    "elucidated": lambda channels, side: small_elucidated(channels, side, steps=3),
    "cascade": small_cascade,
}


# -- shapes, and whose numbers a crystal is made of ----------------------------------------------------------------


@pytest.mark.parametrize(("channels", "side"), SHAPES)
@pytest.mark.parametrize("kind", MAKERS)
def test_what_makes_images_makes_them_of_any_side_within_0_and_1(kind, channels, side):
    torch.manual_seed(0)
    made = shaken(MAKERS[kind](channels, side)).sample(draws(1, 2))
    assert made.shape == (2, channels, side, side) and made.dtype == torch.float32
    assert made.min() >= 0 and made.max() <= 1 and made[0].std() > 0.01
    assert (made[0] - made[1]).abs().max() > 0.01


@pytest.mark.parametrize(("channels", "side"), SHAPES)
def test_a_critic_gives_one_score_an_image_that_its_batch_does_not_change(channels, side):
    torch.manual_seed(0)
    critic, points = ImageCritic(channels, side), images(3, channels, side)
    found = critic(points)
    assert found.shape == (3,) and found.std() > 0
    assert_close(torch.cat([critic(points[[i]]) for i in range(3)]), found, rtol=1e-4, atol=1e-5)
    corner = points.values.clone()
    corner[:, :, -1, -1] += 1  # the last pixel is seen too, at sides that are filled up
    assert (critic(ImageTensor(corner)) - found).abs().min() > 1e-4


@pytest.mark.parametrize("kind", MAKERS)
def test_a_crystal_depends_on_its_own_numbers_alone(kind):
    torch.manual_seed(0)
    maker, before = shaken(MAKERS[kind](3, 17)).double(), torch.get_rng_state()
    together = maker.sample(draws(1, 2, 3, dtype=F64))
    assert torch.equal(torch.get_rng_state(), before)
    for row, seed in enumerate((1, 2, 3)):
        assert_close(maker.sample(draws(seed, dtype=F64))[0], together[row], rtol=1e-9, atol=1e-9)
    assert_close(maker.sample(draws(3, 1, dtype=F64)), together[[2, 0]], rtol=1e-9, atol=1e-9)


def test_images_of_another_shape_are_refused_in_one_line():
    wrong = images(2, 4, 16)
    message = r"images have shape \(4, 16, 16\), the network was made for \(3, 20, 20\)"
    for call in (ImageCritic(3, 20), *(lambda x, m=m: m.loss(x, torch.Generator()) for m in diffusions(3, 20))):
        with pytest.raises(ValueError, match=message):
            call(wrong)
    with pytest.raises(ValueError, match=message):
        small_elucidated(3, 20).set_scale(wrong)


def diffusions(channels, side):
    return small_elucidated(channels, side), small_cascade(channels, side)


def test_names_are_there_on_first_use():
    assert all(getattr(graphgan.images, name) for name in graphgan.images.__all__)
    assert set(graphgan.images.__all__) <= set(dir(graphgan.images))
    with pytest.raises(AttributeError, match="no attribute 'Unet'"):
        graphgan.images.Unet  # noqa: B018


# -- critics in games ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_the_critic_keeps_the_contract_of_every_game(name, spectral_norm):
    torch.manual_seed(0)
    critic = ImageCritic(3, 13, width=8, dense=16, spectral_norm=spectral_norm).double().eval()
    assert_objective(OBJECTIVES[name](), critic, images(3, 3, 13, 1, F64), images(3, 3, 13, 2, F64))


def penalty_and_its_slope(critic, points, parameter):
    penalty = (gradient_norm(critic, points) - 1).square().mean()
    (slope,) = torch.autograd.grad(penalty, parameter)
    return penalty.item(), slope.flatten()[0].item()


class Patches(nn.Module):
    """A small critic of the published kind of parts: convolutions in three dimensions, norms, dropout."""

    def __init__(self, norm=BatchNorm, spectral_norm=False):
        super().__init__()
        self.convolution, self.norm = nn.Conv3d(1, 6, (3, 3, 2)), norm(6)
        self.dropout, self.head = Dropout(0.25, seed=3), nn.Linear(6 * 5 * 5 * 2, 1)
        if spectral_norm:
            normalise_spectrum(self)

    def forward(self, points):
        h = self.norm(self.convolution(points.values.permute(0, 2, 3, 1)[:, None]))
        return self.head(self.dropout(nn.functional.leaky_relu(h, 0.2).flatten(1)))[:, 0]


@pytest.mark.parametrize("kind", ["image", "filter norm", "batch norm"])
def test_the_slope_of_a_gradient_penalty_is_that_of_finite_differences(kind):
    torch.manual_seed(0)
    if kind == "image":
        critic, points = ImageCritic(2, 13, width=8, dense=16).double(), images(3, 2, 13, dtype=F64)
    else:
        critic, points = (
            Patches(FilterNorm if kind == "filter norm" else BatchNorm).double(),
            images(3, 3, 7, dtype=F64),
        )
        critic.dropout.eval()
    parameter, step = next(critic.parameters()), 1e-6
    _, slope = penalty_and_its_slope(critic, points, parameter)
    with torch.no_grad():
        parameter.view(-1)[0] += step
    above, _ = penalty_and_its_slope(critic, points, parameter)
    with torch.no_grad():
        parameter.view(-1)[0] -= 2 * step
    below, _ = penalty_and_its_slope(critic, points, parameter)
    assert abs(slope) > 1e-6 and slope == pytest.approx((above - below) / (2 * step), rel=1e-4)


def test_a_residual_block_is_the_identity_where_it_adds_nothing():
    x = torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    for normalised in (False, True):
        block = ResidualBlock(8, normalised)
        assert (block(x) - x).abs().max() > 0.1
        nn.init.zeros_(block.convolutions[1].weight)
        nn.init.zeros_(block.convolutions[1].bias)
        assert torch.equal(block(x), x)


def test_spectral_norm_bounds_every_layer():
    torch.manual_seed(0)
    critic = ImageCritic(4, 20, spectral_norm=True)
    for _ in range(30):
        critic(images(2, 4, 20))
    layers = [m for m in critic.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 10
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.03)


# -- the published networks ----------------------------------------------------------------------------------------


def dense(*widths):
    """Parameters of linear layers, each followed by a norm."""
    return sum(a * b + 3 * b for a, b in itertools.pairwise(widths))


def convolutions(*layers):
    """Parameters of convolutions (filters in, out, numbers of a kernel), each followed by a norm."""
    return sum(a * b * kernel + 3 * b for a, b, kernel in layers)


def test_parameters_of_the_published_networks():
    """Added up from the layers; Keras 3.15 counts the same for the published code's layers."""
    pixels = 32 * 10 + 1
    grown = convolutions(
        (1, 256, 27), (256, 128, 27), (128, 128, 27), (128, 128, 27), (128, 64, 27), (64, 64, 27), (64, 64, 27),
        (64, 64, 27), (64, 32, 8)
    )  # fmt: skip
    chain = dense(128, 1024) + dense(128, 484, 484, 784, 784, 784, 1024, 1024, 4096)
    seen = convolutions((1, 32, 1), (32, 32, 9), (32, 32, 9), (32, 32, 9), (32, 64, 9), *[(64, 64, 49)] * 4)
    seen += convolutions((64, 128, 50), (128, 256, 8))
    judged = dense(64 * 64 * 4, 1024, 1024, 1024, 1024, 9)
    wgan = (1, 128), (128, 128), (128, 64), (64, 64), (64, 32), (32, 32), (32, 32), (32, 32)
    made = dense(128, 1024) + convolutions(*[(a, b, 27) for a, b in wgan], (32, 32, 8))
    scored = convolutions((1, 16, 1), (16, 16, 1), *[(16, 16, 9)] * 4, (16, 32, 49), (32, 32, 49), (32, 32, 49))
    scored += convolutions((32, 64, 49), (64, 64, 50), (64, 128, 8))
    expected = {
        CrystensGanGenerator: (grown + chain + pixels, 10_462_041),
        CrystensGanCritic: (seen + judged + 9 * 256 + 1, 21_469_948),
        CrystensWganGenerator: (made + pixels, 1_060_129),
        CrystensWganCritic: (scored + 9 * 128 + 1, 508_113),
    }
    for kind, (added, counted) in expected.items():
        with torch.device("meta"):
            assert count(kind()) == added == counted, kind.__name__


def volumes(network, call):
    """Shapes (filters, side, side, depth) that leave the convolutions of a network on the meta device."""
    found = []
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            module.register_forward_hook(lambda module, args, out: found.append(tuple(out.shape[1:])))
    out = call(network)
    return found, tuple(out.shape)


def test_sides_of_the_published_volumes():
    with torch.device("meta"):
        noise = torch.zeros(2, 128)
        points = ImageTensor(torch.zeros(2, 4, 64, 64))
        gan, made = volumes(CrystensGanGenerator(), lambda g: g(noise))
        wgan, also = volumes(CrystensWganGenerator(), lambda g: g(noise))
        seen, scores = volumes(CrystensGanCritic().eval(), lambda c: c(points))
        judged, other = volumes(CrystensWganCritic().eval(), lambda c: c(points))
    grown = [(16 + 2 * i, 16 + 2 * i, 4 + 2 * i) for i in range(1, 9)] + [(64, 64, 40), (64, 64, 4)]
    assert [shape[1:] for shape in gan] == [shape[1:] for shape in wgan] == grown
    assert made == also == (2, 4, 64, 64) and scores == other == (2,)
    assert [s[1] for s in seen] == [64, 62, 60, 58, 56, 50, 44, 38, 32, 6, 3]
    assert [s[1] for s in judged] == [64, 64, 62, 60, 58, 56, 50, 44, 38, 32, 6, 3]
    assert seen[-1] == (256, 3, 3, 1) and judged[-1] == (128, 3, 3, 1) and seen[-2][3] == judged[-2][3] == 3


@pytest.mark.parametrize("objective", [NonSaturating(), WassersteinGP()])
def test_the_published_pairs_play(objective):
    torch.manual_seed(0)
    generator, critic = CrystensWganGenerator, CrystensWganCritic
    if isinstance(objective, NonSaturating):
        generator, critic = CrystensGanGenerator, CrystensGanCritic
    made = generator().eval().sample(draws(1)).detach()
    assert made.shape == (1, 4, 64, 64) and made.min() > 0 and made.max() < 1 and made.std() > 0.001
    assert_objective(objective, critic().eval(), images(1, 4, 64), ImageTensor(made))


def test_the_published_networks_refuse_other_images():
    for kind in (CrystensGanGenerator, CrystensGanCritic, CrystensWganGenerator, CrystensWganCritic):
        with pytest.raises(ValueError, match="for 4 channels and side 64, not 1 and 64"):
            kind(channels=1)
        with pytest.raises(ValueError, match="for 4 channels and side 64, not 4 and 32"):
            kind(side=32)
    with torch.device("meta"):
        critic = CrystensWganCritic()
    with pytest.raises(ValueError, match=r"images have shape \(4, 32, 32\), the network was made for \(4, 64, 64\)"):
        critic(images(1, 4, 32))


def test_weights_start_as_in_keras():
    torch.manual_seed(0)
    generator = CrystensWganGenerator()
    linear, transposed = generator.start[0], generator.grow[3]  # 128 -> 1024; 128 -> 128 filters of 27
    for layer, fans in ((linear, 128 + 1024), (transposed, 27 * (128 + 128))):
        largest = layer.parametrizations.weight.original.abs().max().item()
        assert largest == pytest.approx(math.sqrt(6 / fans), rel=1e-3) and not layer.bias.any()


def test_dropout_goes_on_where_it_was_and_draws_from_nobody():
    layer, ones, before = Dropout(0.25, seed=5), torch.ones(100, 100), torch.get_rng_state()
    first, second = layer(ones), layer(ones)
    assert torch.equal(torch.get_rng_state(), before) and not torch.equal(first, second)
    assert sorted(first.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert (first == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    again, other = Dropout(0.25, seed=5), Dropout(0.25, seed=6)
    assert torch.equal(again(ones), first) and not torch.equal(other(ones), first)
    resumed = Dropout(0.25, seed=5)
    resumed.load_state_dict(layer.state_dict())
    assert torch.equal(resumed(ones), layer(ones)) and int(resumed.calls) == 3
    assert layer.eval()(ones) is ones and int(layer.calls) == 3


def test_batch_norm_goes_by_running_averages_while_it_is_frozen():
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    norm = BatchNorm(2)
    assert_close(norm(x), batch_norm(x, None, None, training=True, eps=1e-3))
    assert_close(norm.running_mean, torch.tensor([0.02, 0.04]))  # 1 % of (2, 4)
    norm.requires_grad_(False)
    expected = (x - norm.running_mean) / (norm.running_var + 1e-3).sqrt()
    assert_close(norm(x), expected)
    assert_close(norm.running_mean, torch.tensor([0.02, 0.04]))


def test_filter_norm_is_over_the_filters_of_a_place():
    x = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    assert_close(FilterNorm(5)(x), (x - mean) / (variance + 1e-3).sqrt())


# -- the U-Net -----------------------------------------------------------------------------------------------------


def test_the_unet_says_nothing_at_birth_and_hears_the_noise_level():
    torch.manual_seed(0)
    unet = UNet(3, 2, 17, 8, (1, 2, 2), (1, 2, 1), ("none", "linear", "full"), levels=2, dense=8)
    x, level = torch.randn(2, 3, 17, 17), torch.tensor([[0.0, 1.0], [-3.0, 2.0]])
    assert torch.equal(unet(x, level), torch.zeros(2, 2, 17, 17))
    shaken(unet)
    found = unet(x, level)
    for other in ([[0.1, 1.0], [-2.9, 2.0]], [[0.0, 1.1], [-3.0, 2.1]]):
        assert (unet(x, torch.tensor(other)) - found).abs().amax((1, 2, 3)).min() > 1e-4
    with pytest.raises(ValueError, match=r"blocks \(1,\) and attention \('none', 'some'\): expected one entry a level"):
        UNet(1, 1, 8, 8, (1, 2), (1,), ("none", "some"))


def test_attentions_of_known_numbers():
    """Queries and keys 0: every place gets the mean value; linear attention, that over the square root of a head."""
    query = torch.zeros(1, 2, 5, 4)
    value = torch.arange(40.0).view(1, 2, 5, 4)
    mean = value.mean(2, keepdim=True).expand_as(value)
    assert_close(Attention(8, 2, 4).mix(query, query, value), mean)
    assert_close(LinearAttention(8, 2, 4).mix(query, query, value), mean / 2)
    one = torch.tensor([0.0, 100.0, 0.0, 0.0, 0.0]).view(1, 1, 5, 1).expand(1, 2, 5, 4)  # all look at place 1
    assert_close(LinearAttention(8, 2, 4).mix(query, one, value), value[:, :, 1:2].expand_as(value) / 2)
    assert_close(Attention(8, 2, 4).mix(query + 1, one, value), value[:, :, 1:2].expand_as(value))


# -- elucidated diffusion ------------------------------------------------------------------------------------------


def test_noise_levels_and_preconditioning_of_known_numbers():
    model = small_elucidated(1, 13).double()
    assert len(model.sigmas) == 19 and model.sigmas[-1] == 0
    assert model.sigmas[0] == pytest.approx(80) and model.sigmas[17] == pytest.approx(0.002)
    middle = (80 ** (1 / 7) + 9 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert model.sigmas[9] == pytest.approx(middle) == pytest.approx(1.9235, abs=1e-3)
    noisy = torch.randn(3, 1, 13, 13, dtype=F64)
    sigma = torch.tensor([0.5, 0.002, 80.0], dtype=F64)[:, None, None, None]
    skipped = noisy * 0.25 / (sigma**2 + 0.25)  # the network is 0 at birth
    assert_close(model.denoise(noisy, sigma), skipped)
    assert_close(skipped[0], noisy[0] / 2)
    seen = {}

    def network(x, level):
        seen.update(x=x, level=level)
        return torch.ones_like(x)

    model.network = nn.Identity()
    model.network.forward = network
    added = model.denoise(noisy, sigma) - skipped
    assert_close(added[:, 0, 0, 0], torch.tensor([0.5 / 2**0.5, 0.002, 0.5], dtype=F64), rtol=1e-4, atol=0)
    assert_close(seen["x"], noisy / (sigma**2 + 0.25).sqrt())
    assert_close(seen["level"], 2 * torch.log(0.5 / sigma).view(3, 1))


def test_without_noise_the_denoiser_is_the_identity():
    torch.manual_seed(0)
    model = shaken(small_elucidated(2, 13)).double()
    noisy = torch.randn(2, 2, 13, 13, dtype=F64)
    for sigma in (1e-3, 1e-6):
        found = model.denoise(noisy, torch.full((2, 1, 1, 1), sigma, dtype=F64))
        assert 0 < (found - noisy).abs().max() < 20 * sigma


def test_the_scale_is_measured_and_the_loss_at_birth_is_1():
    """A network of 0 guesses c_skip y, whose expected weighted error is 1 for data of standard deviation 0.5."""
    model = small_elucidated(2, 13)
    rng = torch.Generator().manual_seed(0)
    picture = torch.rand(2, 13, 13, generator=rng)
    data = ImageTensor(picture + 0.1 * torch.randn(2000, 2, 13, 13, generator=rng))
    model.set_scale(data)
    assert model.spread.item() == pytest.approx(0.1, rel=0.01)
    assert_close(model.centre, picture, atol=0.02, rtol=0)
    loss, stats = model.loss(data, rng)
    assert loss.item() == pytest.approx(1, abs=0.01) and stats == {"diffusion_loss": loss.detach()}
    plain = small_elucidated(1, 13)  # inside, 0 and 1 are -1 and 1 until something is measured
    assert_close((torch.tensor([0.0, 1.0]) - plain.centre[0, 0, 0]) * (0.5 / plain.spread), torch.tensor([-1.0, 1.0]))


def test_heun_solves_the_equation_of_a_gaussian_to_second_order():
    """Of N(0.3, 0.5²), the solution is mu + (x_T - mu) s / sqrt(s² + sigma_max²); 18 steps end 5.5 % too wide, and
    twice as many a quarter of that."""
    mean, spread, x = 0.3, 0.5, 80 * torch.randn(100, dtype=F64, generator=torch.Generator().manual_seed(0))
    exact = mean + (x - mean) * spread / math.sqrt(spread**2 + 80**2)
    errors = []
    for steps in (18, 36, 72):
        sigmas = small_elucidated(1, 13, steps=steps).sigmas
        found = heun(lambda x, s: (spread**2 * x + s**2 * mean) / (spread**2 + s**2), x, sigmas)
        ratio = (found - mean) / (exact - mean)
        assert ratio.max() - ratio.min() < 1e-9  # the mean is exact
        errors.append(ratio[0].item() - 1)
    assert errors == pytest.approx([0.05527, 0.01221, 0.00287], abs=1e-5)


def test_at_birth_samples_are_gaussian_about_the_mean_picture():
    """A network of 0 is right for N(0, 0.5²) inside: 5.5 % too wide after 18 steps, as above."""
    model, rng = small_elucidated(1, 13), torch.Generator().manual_seed(0)
    model.set_scale(ImageTensor(0.5 + 0.03 * torch.randn(50, 1, 13, 13, generator=rng)))
    z = draws(1)(1, 13, 13)
    expected = model.centre + model.spread * 1.05527 * 80 / math.sqrt(80**2 + 0.25) * z
    assert_close(model.sample(draws(1)), expected, rtol=1e-4, atol=1e-5)


def test_a_sample_takes_35_network_calls_and_one_draw():
    model = small_elucidated(2, 13)
    calls, drawn = [], []
    model.network.register_forward_hook(lambda *args: calls.append(1))

    def draw(*shape):
        drawn.append(shape)
        return torch.ones(1, *shape)

    model.sample(draw)
    assert len(calls) == 35 and drawn == [(2, 13, 13)]


def test_the_diffusion_learns_four_pictures():
    """Every sample is near one of them, in root mean square of its pixels, and all four come."""
    torch.manual_seed(0)
    data = ImageTensor((torch.rand(4, 1, 4, 4) > 0.5) * 0.8 + 0.1)
    model = small_elucidated(1, 4, multipliers=(1,), blocks=(1,), attention=("none",), dense=64)
    model.set_scale(data)
    player = Player("diffusion", model, model.loss, 5e-3, betas=(0.9, 0.99))
    trainer = Trainer([player], data, batch_size=128, rng=torch.Generator().manual_seed(0), ema_decay=0.95)

    def nearest():
        made = trainer.average.network.sample(draws(*range(100)))
        return (made[:, None] - data.values).square().mean((2, 3, 4)).sqrt().min(1)

    assert nearest()[0].median() > 0.25
    for _ in trainer.train(220):
        pass
    distance, which = nearest()
    assert distance.median() < 0.16 and which.bincount(minlength=4).min() >= 10


# -- the published cascade -----------------------------------------------------------------------------------------


def test_the_schedules_of_known_numbers():
    times = torch.linspace(0, 1, 1001, dtype=F64)
    kept = torch.sigmoid(cosine_log_snr(times))
    for time in (0.0, 0.1, 0.5, 0.9):
        expected = math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
        assert kept[round(1000 * time)].item() == pytest.approx(expected, rel=1e-9)
    assert (kept.diff() < 0).all() and kept[0].item() == pytest.approx(0.99984, abs=1e-5)
    assert kept[-1].item() == pytest.approx(1e-9, rel=1e-3)
    low = torch.sigmoid(linear_log_snr(torch.tensor([0.0, 0.2, 1.0], dtype=F64)))
    assert low.tolist() == pytest.approx([math.exp(-1e-4), math.exp(-0.4001), math.exp(-10.0001)], rel=1e-6)


def test_ancestral_sampling_reproduces_a_gaussian():
    """The expected image behind x is exact for N(0.2, 0.3²); 20,000 samples have that mean, and that spread but for
    the 0.6 % that 1,000 steps take away."""
    mean, spread, calls = 0.2, 0.3, []

    def denoise(x, level):
        kept, lost = 1 / (1 + math.exp(-level)), 1 / (1 + math.exp(level))
        alpha = math.sqrt(kept)
        return mean + alpha * spread**2 * (x - alpha * mean) / (kept * spread**2 + lost)

    rng = torch.Generator().manual_seed(0)

    def draw(*shape):
        calls.append(shape)
        return torch.randn(20_000, *shape, generator=rng)

    found = ancestral(denoise, draw, (1,), 1000)
    assert calls == [(1,)] * 1000  # the start, and noise in all steps but the last
    assert found.mean().item() == pytest.approx(mean, abs=0.01)
    assert found.std().item() == pytest.approx(0.994 * spread, rel=0.01)


def test_thresholds_divide_an_image_by_its_percentile_or_clip_it():
    x = torch.linspace(-4, 4, 36).view(1, 1, 6, 6)
    model, level = small_cascade(1, 13), cosine_log_snr(torch.tensor(0.0)).item()
    alpha = math.sqrt(1 / (1 + math.exp(-level)))  # the network is 0 at birth: the image is x / alpha
    bound = torch.quantile((x / alpha).abs().flatten(), 0.95)
    assert_close(model._expected(model.base, x, level), (x / alpha).clamp(-bound, bound) / bound)
    model.percentile = None
    assert_close(model._expected(model.base, x, level), (x / alpha).clamp(-1, 1))


def test_the_cascade_has_the_published_size():
    """With the script's arguments, imagen-pytorch 1.26.2 has 269,785,887 and 727,855,298; its networks differ."""
    with torch.device("meta"):
        model = CascadedDiffusion()
        made = model.upper(torch.zeros(1, 8, 64, 64), torch.zeros(1, 2))
    assert (count(model.base), count(model.upper)) == (361_247_492, 633_365_008)
    assert made.shape == (1, 4, 64, 64) and model.low_shape == (4, 32, 32)


def test_the_second_network_sees_the_first_image_through_noise():
    torch.manual_seed(0)
    model, seen = small_cascade(1, 16), []
    model.upper.register_forward_hook(lambda module, args, out: seen.append(args))
    model.base.register_forward_hook(lambda module, args, out: seen.append(args))
    loss, stats = model.loss(images(2, 1, 16), torch.Generator().manual_seed(0))
    assert [tuple(x.shape) for x, _ in seen] == [(2, 1, 8, 8), (2, 2, 16, 16)]
    assert [tuple(level.shape) for _, level in seen] == [(2, 1), (2, 2)]
    assert_close(stats["base_loss"] + stats["upper_loss"], loss.detach())
    seen.clear()
    model.sample(draws(1, 2))
    assert len(seen) == 6 and seen[-1][1][0, 1].item() == pytest.approx(-math.log(math.expm1(0.4001)), rel=1e-5)


def test_what_the_networks_see_is_mixed_as_they_are_told():
    """White images: what is left of them, and the noise beside, are alpha and sigma of the level told."""
    torch.manual_seed(0)
    model, seen = small_cascade(1, 32), []
    model.upper.register_forward_hook(lambda module, args, out: seen.extend(args))
    _, stats = model.loss(ImageTensor(torch.ones(200, 1, 32, 32)), torch.Generator().manual_seed(0))
    x, level = seen
    assert_close(x.mean((2, 3)), torch.sigmoid(level).sqrt(), atol=0.12, rtol=0)
    assert_close(x.std((2, 3)), torch.sigmoid(-level).sqrt(), atol=0.1, rtol=0)
    assert level[:, 0].std() > 2 and level[:, 1].std() > 1 and (level[:, 0] - level[:, 1]).abs().min() > 1e-4
    # A network of 0 is wrong by the noise, of variance 1, weighted by sigma: on average over time, 0.6417.
    for part in ("base_loss", "upper_loss"):
        assert stats[part].item() == pytest.approx(0.6417, abs=0.07)


def test_under_bf16_losses_and_images_are_float32():
    torch.manual_seed(0)
    data, rng = images(2, 2, 13), torch.Generator().manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = [maker(2, 13).sample(draws(1)) for maker in MAKERS.values()]
        losses = [model.loss(data, rng)[0] for model in diffusions(2, 13)]
        assert ImageCritic(2, 13, width=8)(data).dtype == torch.bfloat16
    assert {x.dtype for x in (*made, *losses)} == {torch.float32}


# -- in the trainer ------------------------------------------------------------------------------------------------


def trainer_of(kind, seed):
    """Weights do not depend on `seed`, the trainer's generator does."""
    torch.manual_seed(0)
    side, channels = (7, 3) if "published" in kind else (13, 2)
    data, rng = images(8, channels, side, 5), torch.Generator().manual_seed(seed)
    if kind in ("elucidated", "cascade"):
        model = MAKERS[kind](channels, side)
        players = [Player(kind, model, model.loss, 1e-3, betas=(0.9, 0.99))]
    else:
        generator = ImageGenerator(channels, side, noise=4, width=8, dense=8)
        critic = ImageCritic(channels, side, width=8, dense=8, spectral_norm=kind == "non-saturating")
        if "published" in kind:
            critic = Patches(BatchNorm) if kind.endswith("gan") else Patches(FilterNorm, spectral_norm=True)
        players = adversaries(
            NonSaturating() if kind in ("non-saturating", "published gan") else WassersteinGP(),
            critic,
            generator,
            real=lambda batch, rng: batch,
            fake=lambda real, rng: ImageTensor(generator.sample(lambda *shape: normal(len(real), *shape, rng=rng))),
            critic_steps=2,
            learning_rate=1e-3,
        )
    return Trainer(players, data, batch_size=4, rng=rng, ema_decay=0.9)


def floats(trainer, steps):
    return [{k: float(v) for k, v in stats.items()} for stats in itertools.islice(trainer.train(), steps)]


KINDS = ["wgan-gp", "non-saturating", "published gan", "published w", "elucidated", "cascade"]


@pytest.mark.parametrize("kind", KINDS)
def test_four_steps_equal_two_saved_loaded_and_two(kind, tmp_path):
    straight, before = trainer_of(kind, 1), torch.get_rng_state()
    expected = floats(straight, 4)
    assert torch.equal(torch.get_rng_state(), before)
    first = trainer_of(kind, 1)
    found = floats(first, 2)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = trainer_of(kind, 99)
    floats(second, 3)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    found += floats(second, 2)
    assert found == expected
    for name, value in straight.average.network.state_dict().items():
        assert torch.equal(value, second.average.network.state_dict()[name])


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_moves(kind):
    trainer = trainer_of(kind, 1)
    before = [[p.detach().clone() for p in player.network.parameters()] for player in trainer.players]
    floats(trainer, 3)
    for player, olds in zip(trainer.players, before, strict=True):
        for (name, new), old in zip(player.network.named_parameters(), olds, strict=True):
            # What is added to every score changes no Wasserstein distance.
            free = name in ("head.bias", "whole.4.bias") and isinstance(player.network, ImageCritic | Patches)
            assert free or not torch.equal(new, old), f"{player.name}: {name}"


def test_the_average_of_a_published_generator_makes_images():
    """Spectral and batch norm survive the copy that the trainer keeps of a generator."""
    with torch.device("meta"):
        networks = [CrystensGanGenerator(), CrystensWganGenerator()]
    for network in networks:
        trainer = Trainer([Player("generator", network, None, 1e-3)], [0], batch_size=1, rng=torch.Generator())
        made = trainer.average.network.sample(lambda *shape: torch.zeros(2, *shape, device="meta"))
        assert made.shape == (2, 4, 64, 64)
