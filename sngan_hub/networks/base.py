"""Base classes of all networks: class names, checks of labels and constructor arguments, and sampling."""

# torch.jit re-exports is_tracing without listing it:
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import copy
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from ..devices import autocast_on, to_channels_last
from ..layers.normalizers import Conv2d, Linear
from ..layers.resample import FORMS, Resampling
from ..sampling import generate as sampling
from ..sampling.generate import no_bare_integer
from .mixin import StrictHubMixin


class Network(StrictHubMixin):
    """What a generator and a discriminator have in common."""

    kind: str  #: ``generator`` or ``discriminator``
    size: int  #: images are (N, 3, size, size)
    n_classes: int  #: 0 if the network is unconditional
    classes: list[str] | None  #: their names, in the order of the labels

    #: Strength of class conditioning in [0, 1], used in every look-up in a class table (``lookup_class``): 0 uses the
    #: mean row of the table, 1 the class's own row. Only a run with a class transition changes it, once per step
    #: (training/engine/transition.py). It is not saved: snapshots store tables to which it has been applied.
    class_strength: float | Tensor = 1.0

    #: Layers that are not trained. They stay in evaluation mode, so that u and running statistics do not change
    frozen: list[nn.Module]

    def train(self, mode: bool = True) -> Network:
        """Like ``nn.Module.train``, but the ``frozen`` layers stay in evaluation mode."""
        super().train(mode)
        for layer in getattr(self, "frozen", ()):
            layer.eval()
        return self

    def set_resampling(self, form: str) -> None:
        """Selects how resampling convolutions are computed. All forms give the same result up to rounding.

        Args:
            form: ``plain``, ``fused``, or ``auto`` (per layer, by the committed table of layers/resample.py).

        Raises:
            ValueError: for another form.
        """
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)} (got {form!r})")
        for module in self.modules():
            if isinstance(module, Resampling):
                module.form = form

    def name_classes(self, classes: Sequence[str]) -> None:
        """Sets the names of the classes. They are saved in config.json.

        Args:
            classes: one name per class, in the order of the labels.

        Raises:
            ValueError: if their number differs, or if one is not a string.
        """
        check_classes(self.n_classes, classes if isinstance(classes, str) else list(classes))
        self.classes = list(classes)
        if self._hub_mixin_config is not None:
            self._hub_mixin_config["classes"] = self.classes

    def check_labels(self, batch: int, y: Tensor | None, class_weights: Tensor | None = None) -> None:
        """Raises ``ValueError`` for labels that do not fit this network and batch, naming the argument.

        Args:
            batch: N.
            y: None for an unconditional network; otherwise labels (N,) or (N, K), int64 in 0..n_classes - 1. The range
                is checked only on the CPU.
            class_weights: (N, K), or None.
        """
        name = type(self).__name__
        if self.n_classes and y is None:
            raise ValueError(
                f"y must be a torch.int64 tensor of shape (N,) with labels between 0 and {self.n_classes - 1}: "
                f"this {name} is conditional"
            )
        if not self.n_classes and y is not None:
            raise ValueError(f"y must be None: this {name} is unconditional")
        if y is None:
            return
        if _dtype_of(y) != torch.int64:
            raise ValueError(f"y must be a torch.int64 tensor of shape (N,) (got {_kind_of(y)})")
        if not y.ndim or y.shape[0] != batch:
            raise ValueError(f"y must have shape ({batch},) for a batch of {batch} (got {tuple(y.shape)})")
        if class_weights is not None and _dtype_of(class_weights) is None:
            raise ValueError(f"class_weights must be a tensor of shape (N, K) or None (got {_kind_of(class_weights)})")
        if (class_weights is None) != (y.ndim == 1) or (class_weights is not None and class_weights.shape != y.shape):
            weights = None if class_weights is None else tuple(class_weights.shape)
            raise ValueError(
                f"y must have shape (N,) without class_weights, or the shape (N, K) of class_weights "
                f"(got y {tuple(y.shape)} and class_weights {weights})"
            )
        # Only on the CPU and outside of tracing: reading values on a GPU would wait for it, and a traced graph has no
        # values.
        if y.device.type == "cpu" and type(y) is Tensor and y.numel() and not _is_traced():
            low, high = (int(value) for value in y.aminmax())
            if low < 0 or high >= self.n_classes:
                wrong = low if low < 0 else high
                raise ValueError(f"y must contain labels between 0 and {self.n_classes - 1} (got {wrong})")


def _is_traced() -> bool:
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _dtype_of(value: object) -> torch.dtype | None:
    """The dtype of a tensor; None for any other value."""
    return value.dtype if isinstance(value, Tensor) else None


def _is_floating_point(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype.is_floating_point


def _kind_of(value: object) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else f"{type(value).__name__} {reprlib.repr(value)}"


def _is_list_or_tuple(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple)


#: Constructor argument -> its type, and the smallest and the largest legal value; for widths, those of each element
ARGUMENTS: dict[str, tuple[type, float, float]] = {
    "size": (int, 1, 4096),
    "n_classes": (int, 0, 1_000_000),
    "z_dim": (int, 1, 65_536),
    "width": (int, 1, 65_536),
    "widths": (int, 1, 65_536),
    "bottom_width": (int, 1, 4096),
    "embedding_dim": (int, 1, 65_536),
    "concat_after": (int, 1, 64),
    "bn_eps": (float, 1e-12, 1),
    "bn_momentum": (float, 0, 1),
    "slope": (float, 0, 1),
    "head_scale": (float, 0, 1e9),
    "embed_scale": (float, 0, 1e9),
    **dict.fromkeys(("batch_norm", "shortcut_relu", "head_bias"), (bool, 0, 1)),
    **dict.fromkeys(
        ("upsample", "down", "conditioning", "hidden", "sn_eval", "head_sn_eval", "normalizer", "first_norm"),
        (str, 0, 0),
    ),
}
MAY_BE_NONE = ("widths", "bottom_width", "down", "head_bias", "head_sn_eval")
MOST_WIDTHS = 64
_LEGAL = {int: "an integer between {:,} and {:,}", float: "a number between {:g} and {:g}", bool: "true or false",
          str: "a string"}  # fmt: skip


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` for a constructor argument of the wrong type or outside its range, before it is used.

    config.json holds the arguments of the constructor, and may come from an untrusted source.
    """
    for name, (kind, *limits) in ARGUMENTS.items():
        value = arguments.get(name, ...)
        if value is ... or (value is None and name in MAY_BE_NONE):
            continue
        legal = _LEGAL[kind].format(*limits)
        if name == "widths":
            legal = f"a list of 1 to {MOST_WIDTHS} values, each {legal}"
        values: Sequence[object] = [value]
        if name == "widths":
            values = value if _is_list_or_tuple(value) and 0 < len(value) <= MOST_WIDTHS else [None]
        if not all(_is_legal(each, kind, *limits) for each in values):
            raise ValueError(f"{name} must be {legal} (got {reprlib.repr(value)})")


def _is_legal(value: Any, kind: type, least: float, most: float) -> bool:
    if isinstance(value, bool) or kind in (bool, str):
        return isinstance(value, kind) and kind in (bool, str)
    return isinstance(value, (int, float) if kind is float else int) and least <= value <= most


def check_classes(n_classes: int, classes: Sequence[str] | None) -> None:
    """Raises ``ValueError`` unless ``classes`` is None or a list of ``n_classes`` different names."""
    if n_classes < 0:
        raise ValueError(f"n_classes must be 0 (unconditional) or more (got {n_classes})")
    if classes is None:
        return
    if not _is_list_or_tuple(classes) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"classes must be a list of names (got {reprlib.repr(classes)})")
    if len(classes) != n_classes:
        raise ValueError(f"classes must have {n_classes} names, as many as n_classes (got {len(classes)})")
    if len(set(classes)) < len(classes):
        twice = next(name for i, name in enumerate(classes) if name in classes[:i])
        places = " and ".join(str(i) for i, name in enumerate(classes) if name == twice)
        raise ValueError(f"classes must be different names (got {reprlib.repr(twice)} for the classes {places})")


class AnyGenerator(Network):
    """z (N, z_dim), labels (N,) -> images (N, 3, size, size) in [-1, 1]. ``from_pretrained`` loads any generator."""

    kind = "generator"
    z_dim: int

    def check_latents(self, z: Tensor) -> None:
        """Raises ``ValueError`` for anything but a floating-point tensor (N, z_dim)."""
        if not _is_floating_point(z):
            raise ValueError(f"z must be a floating-point tensor of shape (N, {self.z_dim}) (got {_kind_of(z)})")
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z must have shape (N, {self.z_dim}) (got {tuple(z.shape)})")

    @no_bare_integer("n")
    def sample(
        self,
        classes: Sequence[str | int] | str | int | None = None,
        n: int = 1,
        seed: int | None = None,
        truncation: float | None = None,
        batch_size: int = 50,
    ) -> Tensor:
        """Generates images by class and seed.

        Args:
            classes: names or indices; there are ``n`` images of each, class after class. None: ``n`` images in all,
                with uniform labels. Pass a single index by keyword: ``sample(8)`` is an error, because it may mean
                ``n``.
            n: number of images, of each class if classes are given.
            seed: 0 to 2^63 - 1. None: taken from torch's global generator. z and label of image i depend only on
                (seed, i).
            truncation: restricts latents to |z| < ``truncation``, by inverse CDF. None: no restriction.
            batch_size: images computed at once.

        Returns:
            uint8 (N, 3, size, size) in 0..255, on the CPU.

        Raises:
            ValueError: if an argument is invalid.
        """
        return sampling.sample(
            self, classes=classes, n=n, seed=seed, truncation=truncation, batch_size=batch_size
        )  # fmt: skip

    def for_sampling(self, dtype: torch.dtype = torch.float32) -> AnyGenerator:
        """A faster copy for inference, with precomputed values. It cannot be trained or saved.

        Args:
            dtype: dtype of weights and feature maps. In float32, images are equal to within 1e-4; in
                ``torch.bfloat16`` they differ by less than two levels of 255 on average.

        Returns:
            A generator that is called in the same way, on the same device and in eval mode.
        """
        fast = copy.deepcopy(self).eval().requires_grad_(False)
        for module in fast.modules():
            if isinstance(module, Conv2d | Linear | nn.ConvTranspose2d):  # batch norm stays float32
                module.to(dtype)
        to_channels_last(fast)
        fast._hub_mixin_config = None
        return fast


class AnyDiscriminator(Network):
    """Images (N, 3, size, size) in [-1, 1], labels (N,) -> scores (N, 1), without a sigmoid."""

    kind = "discriminator"
    linear: Linear

    def class_scores(self, x: Tensor) -> Tensor:
        """The score of each image for each class.

        Args:
            x: images (N, 3, size, size) in [-1, 1].

        Returns:
            (N, n_classes); (N, 1) without classes. Scores are any real numbers, without a sigmoid. They compare images
            of one class. The class with the highest score is not a prediction.

        Raises:
            ValueError: see ``check_images``, or if values are far outside of [-1, 1].
        """
        self.check_range(x)
        if not self.n_classes:
            return self(x)
        labels = torch.arange(self.n_classes, device=x.device)
        return torch.cat([self(x, label.expand(x.shape[0])) for label in labels], 1)

    def check_range(self, x: Tensor) -> None:
        """Raises ``ValueError`` for values beyond +-10, as in images of 0 to 255. Noise and resampling cause less."""
        if torch.compiler.is_compiling() or not _is_floating_point(x) or not x.numel():
            return
        low, high = float(x.min()), float(x.max())
        if max(-low, high) > 10:
            raise ValueError(f"x must have values in [-1, 1] (got {low:.3g} to {high:.3g}); scale images of 0 to 255 "
                             f"with images / 127.5 - 1")  # fmt: skip

    def check_images(self, x: Tensor) -> None:
        """Raises ``ValueError`` for anything but a tensor (N, 3, size, size) in the dtype of the weights."""
        if not _is_floating_point(x):
            raise ValueError(f"x must be a floating-point tensor of shape (N, 3, {self.size}, {self.size}) in [-1, 1] "
                             f"(got {_kind_of(x)}); convert uint8 images with images / 127.5 - 1")  # fmt: skip
        dtype, device = self.linear.weight.dtype, x.device.type
        if x.dtype != dtype and not autocast_on(device):
            raise ValueError(f"x must be {dtype}, the dtype of this network's weights (got {x.dtype})")
        if x.ndim != 4 or x.shape[1:] != (3, self.size, self.size):
            raise ValueError(f"x must have shape (N, 3, {self.size}, {self.size}) (got {tuple(x.shape)})")
