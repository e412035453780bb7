"""``sngan list | info | sample | evaluate``. Imports torch only once the arguments are known to be well-formed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .commandline import Parser, run

MODEL = "a name (sngan_fashion32), a network's folder, a run's folder, the authors' .npz, or a Hub repository id"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="sngan", description="Sample and score SNGAN and projection-discriminator models.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)

    command = commands.add_parser("list", help="all architectures, and the weights that load by name")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=list_)

    command = commands.add_parser("info", help="parameters, classes, licence and scores of a model")
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=info)

    command = commands.add_parser("sample", help="images by class, as one labelled grid or a file each")
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("--classes", nargs="+", metavar="NAME", help="names or indices; --n images of each")
    command.add_argument("--n", type=int, default=16, help="images of each class, or in all (default 16)")
    command.add_argument("--seed", type=int, help="0 .. 2^63 - 1; drawn and shown when left out")
    command.add_argument("--truncation", type=float, metavar="T", help="draw latents with |z| < T only")
    command.add_argument("--batch_size", type=int, default=50)
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE.png|DIR", help="a folder gets a file an image"
    )
    command.set_defaults(run=sample)

    command = commands.add_parser("evaluate", help="scores against real images, one JSON line a protocol")
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument(
        "--data", required=True, metavar="SOURCE", help="fashion, avatars, or a folder of class folders"
    )
    command.add_argument("--protocol", required=True, metavar="P,P", help="fid5k_test,kid1k_test,agreement2k,diversity")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--json", action="store_true", help="no table, only the JSON lines")
    command.add_argument("--record", action="store_true", help="keep the scores in a shipped model's record and cards")
    command.set_defaults(run=evaluate)

    arguments = parser.parse_args(argv)
    return run(f"sngan {arguments.command}", lambda: arguments.run(arguments))


def list_(arguments: argparse.Namespace) -> None:
    from .models import MODELS
    from .weights import WEIGHTS

    rows = []
    for name, model in MODELS.items():
        tags = [record.tag for record in WEIGHTS.values() if record.architecture == name and record.kind == "generator"]
        rows.append({"name": name, "size": model.size, "classes": model.n_classes, "weights": tags})
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"{'name':34}{'size':>5}{'classes':>9}  weights")
    for row in rows:
        print(f"{row['name']:34}{row['size']:5}{row['classes'] or '-':>9}  {', '.join(row['weights']) or '-'}")
    print("\nEach name has a partner NAME_discriminator. Without weights here: create_generator(NAME) is untrained.")


def info(arguments: argparse.Namespace) -> None:
    from .hub import load_discriminator, load_generator
    from .models import MODELS, create_discriminator, create_generator
    from .weights import WEIGHTS, find_record

    name = arguments.model
    architecture = name.split(".")[0].removesuffix("_discriminator")
    trained = any(record.architecture == architecture for record in WEIGHTS.values())
    if architecture in MODELS and not trained and not Path(name).exists():
        networks = (create_generator(architecture), create_discriminator(architecture))
        record = None
    else:
        networks = []
        for load in (load_generator, load_discriminator):
            try:
                networks.append(load(name))
            except (ValueError, FileNotFoundError):
                if load is load_discriminator and not networks:
                    raise
        record = find_record(name, "generator") if architecture in MODELS and not Path(name).exists() else None
    about = {
        "model": record.name if record else name,
        "weights": record.tag if record else ("none (untrained)" if architecture in MODELS else "local"),
        "size": networks[0].size,
        "n_classes": networks[0].n_classes,
        "parameters": {type(net).__name__.lower(): sum(p.numel() for p in net.parameters()) for net in networks},
        "classes": networks[0].classes,
        "licence": record.licence if record else None,
        "data": record.data if record else None,
        "sha256": record.sha256 if record else None,
        "scores": {k: {"value": s.value, "floor": s.floor, "n": s.n, "evaluator": s.evaluator}
                   for k, s in record.scores.items()} if record else {},
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(about, ensure_ascii=False))
        return
    for key, value in about.items():
        if key == "parameters":
            value = ", ".join(f"{kind} {count:,}" for kind, count in value.items())
        elif key == "classes" and value:
            value = ", ".join(value)
        elif key == "scores":
            for protocol, score in value.items():
                print(f"{protocol:12}{score['value']:.4g} (real images: {score['floor']:.3g}; n {score['n']:,}; "
                      f"{score['evaluator']})")  # fmt: skip
            continue
        if value is not None:
            print(f"{key:12}{value}")


def sample(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from . import sampling
    from .hub import load_generator
    from .names import resolve_classes

    sampling.check_request(arguments.n, arguments.seed, arguments.truncation)
    out: Path = arguments.out
    as_file = out.suffix.lower() == ".png"
    if out.suffix and not as_file and not out.is_dir():
        raise ValueError(f"out: got {out}, legal are FILE.png or a folder")
    check_writable(out.parent if as_file else out, create=not as_file)
    generator = load_generator(arguments.model)
    chosen = arguments.classes
    if chosen is not None:  # refused before anything is computed
        chosen = resolve_classes(chosen, generator.classes, generator.n_classes)
    seed = sampling.random_seed_from_system() if arguments.seed is None else arguments.seed
    batches = sampling.sample_batches(
        generator.for_sampling(), chosen, arguments.n, seed, arguments.truncation, arguments.batch_size
    )
    total = arguments.n * (1 if chosen is None else len(chosen))
    names = sampling.class_names(generator)
    about = {"model": arguments.model, "tag": _tag(arguments.model), "seed": seed, "truncation": arguments.truncation}
    images, labels, done = [], [], 0
    if not as_file:
        out.mkdir(parents=True, exist_ok=True)
    with tqdm(total=total, unit="img", disable=None, leave=False) as bar:
        for batch, y in batches:
            if as_file:
                images.append(batch)
                labels += y or []
            else:
                for i, image in enumerate(batch):
                    label = names[y[i]] if y else None
                    path = out / f"{done + i:06d}.png"
                    sampling.save_png(sampling.to_pil(image), path, {**about, "classes": label, "index": done + i})
            done += len(batch)
            bar.update(len(batch))
    if as_file:
        import torch

        pictures = torch.cat(images)
        rows = None
        if chosen is not None:
            # A row a class, broken where it would be wider than 16 pictures.
            columns = next(c for c in range(min(arguments.n, 16), 0, -1) if arguments.n % c == 0)
            rows = [names[c] if k == 0 else "" for c in chosen for k in range(arguments.n // columns)]
        else:
            columns = min(total, max(1, round(total**0.5)))
        picture = sampling.labelled_grid(pictures, columns, rows)
        sampling.save_png(
            picture, out, {**about, "classes": ", ".join(names[label] for label in dict.fromkeys(labels))}
        )
    print(f"{out}: {total} images of {arguments.model}, seed {seed}")


def check_writable(folder: Path, create: bool) -> None:
    """Raises ``OSError`` naming the folder, before any work is done for a file that could not be written.

    ``create``: the folder itself may still be missing, as long as it can be made.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise NotADirectoryError(f"out: {existing} is not a folder")
    if existing != folder.absolute() and not create:
        raise FileNotFoundError(f"out: no folder {folder}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"out: {existing} is not writable")


def _tag(model: str) -> str | None:
    from .weights import find_record

    try:
        return find_record(model, "generator").tag
    except ValueError:
        return None


def evaluate(arguments: argparse.Namespace) -> None:
    from .hub import load_generator, update_record
    from .weights import find_record

    try:
        from .metrics.protocols import evaluate as measure
        from .metrics.protocols import json_line
    except ImportError as error:
        raise ValueError(f"{error}; scores need the extra: pip install 'sngan-hub[metrics]'") from error
    record = find_record(arguments.model, "generator") if arguments.record else None
    generator = load_generator(arguments.model).for_sampling()
    model = record.name if record else arguments.model
    for name, score in measure(generator, arguments.data, arguments.protocol.split(","), arguments.seed):
        line = json_line(model, arguments.data, name, score)
        print(line, flush=True)
        if record:
            fields = json.loads(line)
            update_record(
                record.folder.parent, {name: {k: fields[k] for k in fields if k not in ("model", "data", "protocol")}}
            )
        if not arguments.json:
            worst = min(score.per_class.items(), key=lambda item: item[1]) if score.per_class else None
            print(f"  {name}: {score.value:.4g}, real images {score.floor:.4g}"
                  + (f", worst class {worst[0]} {worst[1]:.3g}" if worst else ""), file=sys.stderr)  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
