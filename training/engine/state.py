"""The state of a run: two networks, the average of the generator, and two optimisers."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.adam import adam

from sngan_hub.devices import resolve_device, to_channels_last
from sngan_hub.layers.normalizers import BatchNorm2d
from sngan_hub.networks.base import AnyDiscriminator, AnyGenerator
from sngan_hub.networks.registry import create_discriminator, create_generator

from ..config.schema import Config
from .cuda_graph import RecordedUpdates
from .penalties import orthonormal_
from .transition import check_transition


class ChainerAdam(torch.optim.Adam):
    """Adam as in Chainer: epsilon 1e-8 is added to sqrt(v) before the bias correction, not after it.

    An update is w -= alpha_t m / (sqrt(v) + 1e-8) with alpha_t = alpha sqrt(1 - beta2^t) / (1 - beta1^t). One fused
    kernel updates all parameters with the same t. The kernel is called with an infinite step count, so that it applies
    no bias correction; alpha_t is computed here. t is also counted here, because reading it from a tensor would wait
    for the device.
    """

    def __init__(self, params: Any, lr: float, betas: tuple[float, float]):
        super().__init__(params, lr, betas, fused=True)
        #: Number of updates, with the parameters that have had that many. None: to be read from the state
        self.counted: list[tuple[int, list[nn.Parameter]]] | None = None
        #: alpha_t of the following updates, while a CUDA graph is recorded
        self.planned: list[list[torch.Tensor]] = []

    @property
    def t(self) -> int:
        """The number of updates so far."""
        return max((t for t, _ in self._counted()), default=0)

    def load_state_dict(self, state_dict: Any) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:  # also for a state that was saved with other options
            group["fused"], group["foreach"] = True, None
        for p, moments in list(self.state.items()):
            self.set_moments(p, moments)
        self.counted = None

    def set_moments(self, p: torch.Tensor, moments: dict[str, torch.Tensor]) -> None:
        """Sets the state of ``p`` to a copy of ``moments``, the state of a parameter in another Adam.

        The copy has the memory layout of ``p``, because the fused kernel reads raw memory and ignores strides.
        """
        self.state[p] = {
            name: value.to(p.device, copy=True) if name == "step" else torch.empty_like(p).copy_(value)
            for name, value in moments.items()
        }
        self.counted = None

    def next_rates(self) -> list[float]:
        """alpha_t of the next update for each group of ``counted``. Increases the counts."""
        self.counted = [(t + 1, params) for t, params in self._counted()]
        (beta1, beta2), lr = self.param_groups[0]["betas"], self.param_groups[0]["lr"]
        return [lr * math.sqrt(1 - beta2**t) / (1 - beta1**t) for t, _ in self.counted]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        rates: Any = self.planned.pop(0) if self.planned else self.next_rates()
        beta1, beta2 = self.param_groups[0]["betas"]
        for rate, (_, params) in zip(rates, self._counted(), strict=True):
            gradients: dict[torch.Tensor, torch.Tensor] = {p: p.grad for p in params if p.grad is not None}
            if not gradients:
                continue
            own = [self._moments(p) for p in gradients]
            endless = torch.full((), math.inf, device=params[0].device)
            torch._foreach_add_([state["step"] for state in own], 1)
            adam(
                list(gradients), list(gradients.values()), [state["exp_avg"] for state in own],
                [state["exp_avg_sq"] for state in own], [], [endless] * len(own), fused=True, lr=rate, beta1=beta1,
                beta2=beta2, eps=1e-8, weight_decay=0, amsgrad=False, maximize=False,
                capturable=isinstance(rate, torch.Tensor),
            )  # fmt: skip

    def _counted(self) -> list[tuple[int, list[nn.Parameter]]]:
        if self.counted is None:
            by_t: dict[int, list[nn.Parameter]] = {}
            for p in self.param_groups[0]["params"]:
                by_t.setdefault(int(self.state[p]["step"]) if p in self.state else 0, []).append(p)
            self.counted = sorted(by_t.items(), key=lambda item: item[0])
        return self.counted

    def _moments(self, p: torch.Tensor) -> dict[str, torch.Tensor]:
        """The state of a parameter, with the names of torch's Adam: ``step`` is t."""
        if not self.state[p]:
            self.state[p] = {
                "step": torch.zeros((), device=p.device),
                "exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
            }
        return self.state[p]


@dataclass
class State:
    """What a run trains, and the number of iterations done."""

    generator: AnyGenerator
    discriminator: AnyDiscriminator
    ema: AnyGenerator  # with the moving average of the generator's weights; without one, the generator itself
    opt_g: ChainerAdam
    opt_d: ChainerAdam
    step: int = 0  # iterations done
    l2_sp_target: dict[str, dict[str, torch.Tensor]] | None = None  # by network and parameter; not saved
    recorded: RecordedUpdates | None = None  # with CUDA graphs; not saved

    def _parts(self) -> dict[str, Any]:
        """Networks and optimisers, by their keys in a checkpoint."""
        average = {"average": self.ema} if self.ema is not self.generator else {}
        return {"generator": self.generator, "discriminator": self.discriminator,
                "opt_g": self.opt_g, "opt_d": self.opt_d, **average}  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {**{name: part.state_dict() for name, part in self._parts().items()}, "step": self.step}

    def load_state_dict(self, parts: dict[str, Any]) -> None:
        """Raises ``ValueError`` if ``parts`` are not those of ``state_dict``, such as one without an average."""
        own = self._parts()
        if {*own, "step"} != parts.keys():
            raise ValueError(f"out must have a checkpoint with {', '.join(own)}, step (got {', '.join(parts)}); only a "
                             f"run with ema_decay above 0 has an average. Train, or import the snapshot, again in "
                             f"another --out")  # fmt: skip
        for name, part in own.items():
            part.load_state_dict(parts[name])
        self.step = parts["step"]


def new_networks(
    config: Config, n_classes: int, classes: list[str] | None = None
) -> tuple[AnyGenerator, AnyDiscriminator]:
    """The untrained pair of ``config`` for data of ``n_classes``."""
    for_generator: dict[str, Any] = {"n_classes": n_classes, "classes": classes}
    for_discriminator = {**for_generator, "conditioning": config.conditioning}
    if config.conditioning == "none":
        for_generator = for_discriminator = {"n_classes": 0}
    networks = []
    for name, create, own in (("generator_fields", create_generator, for_generator),
                              ("discriminator_fields", create_discriminator, for_discriminator)):  # fmt: skip
        fields = json.loads(getattr(config, name))
        try:
            networks.append(create(config.architecture, **{**own, **fields}))
        except (TypeError, ValueError, AttributeError) as error:
            if not fields:
                raise
            raise ValueError(
                f"{name} must be arguments of the network (got {getattr(config, name)}): {error}"
            ) from error
    g, d = networks
    if g.size != d.size:
        raise ValueError(f"generator_fields and discriminator_fields must give networks of one size (got {g.size} and "
                         f"{d.size} px); set size to the same value in both")  # fmt: skip
    return g, d


def new_state(config: Config, classes: list[str], device: torch.device | None = None) -> State:
    """Networks and optimisers before the first step. They depend only on the settings and the seed."""
    torch.manual_seed(config.seed)
    generator, discriminator = new_networks(config, len(classes), classes)
    if config.one_pass and any(isinstance(module, BatchNorm2d) for module in discriminator.modules()):
        raise ValueError("one_pass must be false for a discriminator with batch norm (got true); set --one-pass false")
    if config.transition_to:
        check_transition(generator, discriminator)
    if config.penalty == "orthonormal":
        orthonormal_(discriminator)
    for network in (generator, discriminator):
        network.train().to(device or resolve_device(config.device))
        if config.channels_last:
            to_channels_last(network)
    betas = (config.beta1, config.beta2)
    freeze(generator, discriminator, config)
    return State(
        generator,
        discriminator,
        copy.deepcopy(generator).eval() if config.ema_decay else generator,
        ChainerAdam(trained_parameters(generator), config.lr_g, betas),
        ChainerAdam(trained_parameters(discriminator), config.lr_d, betas),
    )


def freeze(generator: AnyGenerator, discriminator: AnyDiscriminator, config: Config) -> None:
    """Removes the parameters that ``trained`` and ``freeze_d`` exclude from the optimisers.

    Layers whose weights are not trained stay in evaluation mode, so that u and running statistics do not change.
    """
    if config.freeze_d > len(getattr(discriminator, "blocks", [])):
        raise ValueError(
            f"freeze_d must be between 0 and {len(getattr(discriminator, 'blocks', []))} (got {config.freeze_d})"
        )
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(is_trained(network, name, config))
        if not trained_parameters(network):
            raise ValueError(
                f"trained must select weights of this {network.kind} (got {config.trained!r}, which selects none)"
            )
        network.frozen = [
            module for module in network.modules()
            if isinstance(weight := getattr(module, "weight", None), nn.Parameter) and not weight.requires_grad
        ]  # fmt: skip
        network.train()


def is_trained(network: AnyGenerator | AnyDiscriminator, name: str, config: Config) -> bool:
    """Whether the parameter ``name`` is trained."""
    layer, _, leaf = name.rpartition(".")
    module = network.get_submodule(layer)
    if layer.startswith("blocks.") and network.kind == "discriminator" and int(layer.split(".")[1]) < config.freeze_d:
        return False
    head = layer in ("linear", "embed")
    if config.trained == "tables":
        return head or (isinstance(module, BatchNorm2d) and module.n_classes > 0)
    if config.trained == "gains":
        return head or isinstance(module, BatchNorm2d) or (network.kind == "discriminator" and leaf == "bias")
    return True


def trained_parameters(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
