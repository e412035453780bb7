"""Networks as files for other programs: ONNX, and torch.export archives.

An exported generator takes ``z`` (N, z_dim) and, if it has classes, ``class_weights`` (N, n_classes): each row weights
the rows of the class tables, so a row with a single 1 is that class, and other rows that sum to 1 are mixtures.
An exported discriminator takes ``images`` (N, 3, size, size) and ``labels`` (N,). Both take any batch size. Batch norms
are folded, resampling convolutions fused and weights normalised beforehand, as in ``for_sampling()``.
"""

# onnx and onnxruntime have no types, or not for all that is used here:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeStubs=false, reportMissingImports=false

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from .class_names import label_names
from .evaluating import evaluating
from .files import write_atomically
from .hub.cache import sha256_of
from .hub.resolve import resolve
from .layers.spectral_norm import NormalizedLayer
from .networks import resnet
from .networks.base import AnyDiscriminator, AnyGenerator
from .networks.inference import FastGenerator
from .weights.records import find_record

SUFFIXES = (".onnx", ".pt2")
OPSET = 20
METADATA = "sngan_hub.json"  #: the name of the metadata in a torch.export archive
#: Elements; shorter tensors stay float32. Batch-norm statistics and tables of few classes are 2 % of a file, and
#: rounding them changes pixels as much as rounding all convolutions.
SMALLEST_HALF = 4096


class ExportedGenerator(nn.Module):
    """z (N, z_dim), class weights (N, n_classes) or nothing -> images (N, 3, size, size) in [-1, 1]."""

    labels: Tensor

    def __init__(self, generator: AnyGenerator):
        super().__init__()
        fast = (
            FastGenerator(generator, form="fused")
            if isinstance(generator, resnet.Generator)
            else with_fixed_weights(generator)
        )
        self.generator = fast.eval().requires_grad_(False)
        self.register_buffer("labels", torch.arange(generator.n_classes), persistent=False)
        # A product for each part: WebGPU cannot split a row into as many parts at once.
        tables = fast.table.split(fast.widths, 1) if isinstance(fast, FastGenerator) else ()
        self.tables = [f"table{i}" for i in range(len(tables))]
        for name, table in zip(self.tables, tables, strict=True):
            self.register_buffer(name, table.clone())

    def forward(self, z: Tensor, class_weights: Tensor | None = None) -> Tensor:
        if isinstance(self.generator, FastGenerator):
            tables = [self.get_buffer(name) for name in self.tables]
            gains = tables if class_weights is None else [class_weights @ table for table in tables]
            return self.generator.from_gains(z, gains)
        if class_weights is None:
            return self.generator(z)
        return self.generator(z, self.labels.expand(z.shape[0], -1), class_weights)


def with_fixed_weights(network: Any) -> Any:
    """A copy in eval mode whose layers hold their weights as normalised, so that nothing is normalised in a call."""
    network = evaluating(network)
    fixed = copy.deepcopy(network).eval().requires_grad_(False)
    for layer in fixed.modules():
        if isinstance(layer, NormalizedLayer) and layer.normalize is not None:
            weight = layer.effective_weight().detach()
            layer.normalize = None
            layer.weight = nn.Parameter(weight, False)
    return fixed


def example(network: AnyGenerator | AnyDiscriminator, n: int = 2) -> dict[str, Tensor]:
    """Inputs by name for ``n`` images, different in every row."""
    drawn = torch.Generator().manual_seed(n)
    labels = torch.arange(n) % max(network.n_classes, 1)
    if isinstance(network, AnyGenerator):
        inputs = {"z": torch.randn(n, network.z_dim, generator=drawn)}
        if network.n_classes:
            mixed = torch.rand(n, network.n_classes, generator=drawn)
            weights = nn.functional.one_hot(labels, network.n_classes).float()
            weights[1::2] = (mixed / mixed.sum(1, keepdim=True))[1::2]  # single classes and mixtures in turn
            inputs["class_weights"] = weights
        return inputs
    inputs = {"images": torch.rand(n, 3, network.size, network.size, generator=drawn) * 2 - 1}
    return {**inputs, "labels": labels} if network.n_classes else inputs


def to_program(network: AnyGenerator | AnyDiscriminator) -> torch.export.ExportedProgram:
    """The graph of a network, for any batch size.

    Args:
        network: on the CPU, in float32.

    Returns:
        A ``torch.export.ExportedProgram`` that is called as ``program.module()(*inputs)``: for a generator ``z``
        (N, z_dim) and, with classes, ``class_weights`` (N, n_classes) -> (N, 3, size, size) in [-1, 1]; for a
        discriminator ``images`` (N, 3, size, size) and, with classes, ``labels`` (N,) int64 -> scores (N, 1).
    """
    module = ExportedGenerator(network) if isinstance(network, AnyGenerator) else with_fixed_weights(network)
    given = tuple(example(network).values())
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad(), quiet():
        return torch.export.export(module, given, dynamic_shapes=tuple({0: batch} for _ in given), strict=False)


def describe(model: str, network: AnyGenerator | AnyDiscriminator) -> dict[str, str]:
    """The metadata of an exported file: name -> text. ``classes`` is a JSON list.

    Args:
        model: the name, folder, file or repository that ``network`` was loaded from.
        network: the network.

    Returns:
        model, kind, size, n_classes, classes, z_dim (of a generator), licence and sha256 (of the weight file; for
        published files of which only the beginning of the hash is known, that; absent where nothing is known).
    """
    from . import __version__

    about = {"library": f"sngan-hub {__version__}", "model": model, "kind": network.kind, "size": str(network.size),
             "n_classes": str(network.n_classes), "licence": "not stated"}  # fmt: skip
    if isinstance(network, AnyGenerator):
        about["z_dim"] = str(network.z_dim)
    if network.n_classes:
        about["classes"] = json.dumps(label_names(network), ensure_ascii=False)
    found = resolve(model)
    if found.kind == "name":
        record = find_record(model, network.kind)
        about |= {"model": record.name, "licence": record.licence, "sha256": record.sha256}
    elif found.kind == "file":
        about["sha256"] = sha256_of(found.path)
    elif found.kind == "folder":
        inner = found.path / network.kind
        weights = (inner if inner.is_dir() else found.path) / "model.safetensors"
        about["sha256"] = sha256_of(weights) if weights.is_file() else ""
    return {key: text for key, text in about.items() if text}


# ---------------------------------------------------------------------------------------------------------------------
# Files


def write_program(network: AnyGenerator | AnyDiscriminator, path: Path, about: Mapping[str, str]) -> None:
    """Writes a torch.export archive (.pt2), which ``torch.export.load`` reads.

    Args:
        network: on the CPU, in float32.
        path: FILE.pt2.
        about: metadata, see ``describe``; stored as JSON in the extra file METADATA.
    """
    program, extra = to_program(network), {METADATA: json.dumps(dict(about), ensure_ascii=False)}

    def write(temporary: Path) -> None:
        content = io.BytesIO()  # torch names the folder inside the archive after the file
        torch.export.save(program, content, extra_files=extra)
        temporary.write_bytes(content.getvalue())

    write_atomically(path, write)


def write_onnx(
    network: AnyGenerator | AnyDiscriminator, path: Path, about: Mapping[str, str], half: bool = False
) -> None:
    """Writes an ONNX file, whole or not at all.

    Args:
        network: on the CPU, in float32.
        path: FILE.onnx.
        about: metadata, see ``describe``.
        half: stores the weights in float16. They are converted when the file is loaded, and computed with in float32.

    Raises:
        ModuleNotFoundError: without the packages of the extra ``onnx``.
        ValueError: with ``half``, for weights that float16 cannot hold.
    """
    import onnx
    import onnxscript as _  # noqa: F401  (the exporter needs it: an early error names the package)

    names = list(example(network))
    output = "images" if network.kind == "generator" else "scores"
    with torch.no_grad(), quiet():
        exported = torch.onnx.export(
            to_program(network), tuple(example(network).values()), dynamo=True, input_names=names,
            output_names=[output], opset_version=OPSET, verbose=False,
        )  # fmt: skip
    assert exported is not None
    model = cast("Any", exported).model_proto
    if half:
        to_half(model)
    for node in model.graph.node:  # notes of the exporter, with the paths of source files
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    onnx.helper.set_model_props(model, {**about, "weights": "float16" if half else "float32"})
    onnx.checker.check_model(model)
    write_atomically(path, lambda temporary: temporary.write_bytes(model.SerializeToString()))


def to_half(model: Any) -> None:
    """Stores the float32 initializers of an ONNX model in float16, each followed by a cast to float32."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    casts: list[Any] = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALLEST_HALF:
            continue
        with np.errstate(over="ignore"):
            stored = values.astype(np.float16)
        if not np.isfinite(stored).all():
            raise ValueError(f"half: {tensor.name} has values up to {abs(values).max():g}, beyond the range of "
                             f"float16; export without half")  # fmt: skip
        name = f"{tensor.name}.half"
        casts.append(onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(stored, name))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def difference(path: Path, network: AnyGenerator | AnyDiscriminator, n: int = 8) -> float:
    """Runs an exported file and compares it with the network.

    Args:
        path: FILE.onnx, run by onnxruntime on the CPU, or FILE.pt2, run by torch.
        network: the network that was exported.
        n: images. Batches of 1 and of ``n`` - 1 are run.

    Returns:
        The greatest absolute difference of any output: of images in [-1, 1], or of scores.

    Raises:
        ModuleNotFoundError: for FILE.onnx, without onnxruntime (in the extra ``onnx``).
        ValueError: if an output is NaN or infinite.
    """
    whole = example(network, n)
    worst = 0.0
    run = _runner(path)
    for part in (slice(0, 1), slice(1, n)):
        inputs = {name: value[part] for name, value in whole.items()}
        with torch.no_grad():
            gap = float((run(inputs) - _expected(network, inputs)).abs().max())
        if not math.isfinite(gap):  # max would pass over NaN
            raise ValueError(f"{path}: outputs are not finite, so they cannot be compared; export another snapshot "
                             f"of the model")  # fmt: skip
        worst = max(worst, gap)
    return worst


def _expected(network: Any, inputs: dict[str, Tensor]) -> Tensor:
    network = evaluating(network)
    first, *more = inputs.values()
    if "class_weights" in inputs:
        return network(first, torch.arange(network.n_classes).expand(len(first), -1), *more)
    return network(first, *more)


def _runner(path: Path) -> Callable[[dict[str, Tensor]], Tensor]:
    if path.suffix.lower() == ".pt2":
        module = torch.export.load(path).module()

        def run_archive(inputs: dict[str, Tensor]) -> Tensor:
            return module(*inputs.values())

        return run_archive
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run_onnx(inputs: dict[str, Tensor]) -> Tensor:
        return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])

    return run_onnx


@contextlib.contextmanager
def quiet() -> Generator[None, None, None]:
    """The exporter's notes on its own progress are not for the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
