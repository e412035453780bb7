"""What each ``sngan`` command does with its arguments; cli.py says what they are."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .parser import check_writable

if TYPE_CHECKING:  # torch is imported for well-formed arguments only
    from ..networks.base import AnyGenerator


def push(arguments: argparse.Namespace) -> None:
    from ..hub.push import networks_in

    push_all(list(networks_in(arguments.folder, arguments.repo)), arguments)


def push_all(folders: list[tuple[Path, str]], arguments: argparse.Namespace) -> None:
    """Each folder to its repository, by the flags of ``add_push_flags``; or what would be sent."""
    from ..hub.push import FILES, card_of
    from ..hub.push import push as send

    for folder, repo in folders:
        files = [folder / name for name in FILES if (folder / name).is_file()]
        if arguments.dry_run:
            print(f"{repo}: " + ", ".join(f"{path.name} ({path.stat().st_size:,} bytes)" for path in files))
            print(card_of(folder, repo))
            continue
        address = send(folder, repo, arguments.private, arguments.revision, arguments.tag, arguments.create_pr)
        print(f"{address}: {', '.join(path.name for path in files)}")


def list_(arguments: argparse.Namespace) -> None:
    from ..hub.listing import LEGEND, aligned, list_cells, listing

    rows = listing()
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    print("\n".join(aligned(list_cells(rows))))
    print(LEGEND, end="")


def info(arguments: argparse.Namespace) -> None:
    from ..hub.listing import about as find_out

    about = find_out(arguments.model)
    if arguments.json:
        print(json.dumps(about, ensure_ascii=False), flush=True)
        return
    for key, value in about.items():
        if key == "parameters":
            value = ", ".join(f"{kind} {count:,}" for kind, count in value.items())
        elif key == "recipe" and value:
            value = ", ".join(f"{name} {setting}" for name, setting in value.items())
        elif key == "classes" and value:
            value = ", ".join(value[:20]) + (
                f" and {len(value) - 20:,} more (--json prints all)" if len(value) > 20 else ""
            )
        elif key == "scores":
            for protocol, score in value.items():
                real = "" if score["floor"] is None else f"real images: {score['floor']:.3g}; "
                n = "n not stated" if score["n"] is None else f"n {score['n']:,}"
                by = f"; stated by {score['stated_by']}" if score["stated_by"] else ""
                print(f"{protocol:20}{score['value']:.4g} ({real}{n}; {score['evaluator']}{by})")
            continue
        if value not in (None, "", {}, []):
            print(f"{key:20}{value}")


def convert(arguments: argparse.Namespace) -> None:
    from ..convert import Options, convert_path, save_networks, save_snapshot
    from ..hub.listing import count_parameters

    options = Options(
        arguments.gain_offset, None if arguments.shortcut_relu is None else bool(arguments.shortcut_relu),
        arguments.channel_order, _class_names(arguments.classes),
    )  # fmt: skip
    file, out = arguments.file, arguments.out
    if not file.exists():
        raise FileNotFoundError(f"file: no file or folder {file}")
    if out.suffix == ".npz":
        if out.exists():
            raise FileExistsError(f"out: {out} exists; name another, or remove it")
        check_writable(out.parent, create=False)
        network = _one_network(file, options)
        save_snapshot(network, out)
        print(f"{out}: {type(network).__name__.lower()}, {network.size} px, in the authors' form")
        return
    check_writable(out, create=True)
    converted = convert_path(file, options)
    for one, place in zip(converted, save_networks(converted, out), strict=True):
        network = one.network
        classes = f"{network.n_classes:,} classes" if network.n_classes else "unconditional"
        print(
            f"{place}: {one.kind}, {network.size} px, {classes}, {count_parameters([network])[one.kind]:,} parameters"
        )
        print("\n".join(f"  {note}" for note in one.notes))


def _fast(generator: AnyGenerator, arguments: argparse.Namespace) -> tuple[AnyGenerator, str | None]:
    """The form that samples by ``--precision``, and what a picture says of it: nothing of float32."""
    import torch

    from ..networks.inference import fast_bfloat16, sampling_dtype

    device = next(generator.parameters()).device
    dtype = sampling_dtype(arguments.precision, device)
    if dtype == torch.bfloat16 and not fast_bfloat16(device):
        print(
            "precision: this processor does not compute in bfloat16, so bf16 is slower here than fp32", file=sys.stderr
        )
    return generator.for_sampling(dtype), None if dtype == torch.float32 else "bf16"


def _class_names(given: str | None) -> tuple[str, ...] | None:
    from ..class_names import CLASS_LISTS, class_list

    if given is None or given in CLASS_LISTS:
        return None if given is None else class_list(given)
    if not Path(given).is_file():
        raise ValueError(f"classes: got {given!r}, legal are {', '.join(CLASS_LISTS)}, or a file with a name a line")
    try:
        return tuple(line.strip() for line in Path(given).read_text(encoding="utf-8").splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise ValueError(f"classes: {given} is not UTF-8 text") from error


def _one_network(file: Path, options: object):
    """The network to write in the authors' form: of a folder of ours, or of a file of anybody's."""
    from ..convert import Options, convert_path
    from ..networks.mixin import CONFIG_NAME, read_config
    from ..networks.resnet import Discriminator, Generator

    if (file / CONFIG_NAME).is_file():
        kind = read_config(file / CONFIG_NAME).get("class")
        return (Discriminator if kind == "Discriminator" else Generator).from_pretrained(file)
    if (file / "generator" / CONFIG_NAME).is_file():
        raise ValueError(
            f"file: {file} holds two networks, and an .npz one: name {file}/generator or {file}/discriminator"
        )
    assert isinstance(options, Options)
    converted = convert_path(file, options)
    if len(converted) > 1:
        raise ValueError(f"file: {file} holds two networks, and an .npz one: convert it to a folder first")
    return converted[0].network


def sample(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..class_names import resolve_classes
    from ..hub.load import load_calibration, load_discriminator, load_generator
    from ..sampling import generate as sampling
    from ..sampling.pictures import class_names, labelled_grid, save_png, to_pil
    from ..sampling.refine import maker

    sampling.check_request(arguments.n, arguments.seed, arguments.truncation)
    out: Path = arguments.out
    as_file = out.suffix.lower() == ".png"
    if out.suffix and not as_file and not out.is_dir():
        raise ValueError(f"out: got {out}, legal are FILE.png or a folder")
    check_writable(out.parent if as_file else out, create=not as_file)
    method = "rejection" if arguments.rejection else "ddls" if arguments.ddls else None
    calibration = load_calibration(arguments.model) if method else None
    generator = load_generator(arguments.model, device=arguments.device)
    chosen = arguments.classes
    if chosen is not None:  # refused before anything is computed
        chosen = resolve_classes(chosen, generator.classes, generator.n_classes)
    seed = sampling.random_seed_from_system() if arguments.seed is None else arguments.seed
    (fast, precision), make = _fast(generator, arguments), None
    if method and calibration:
        d = load_discriminator(arguments.model, device=arguments.device)
        drawn_by = generator if method == "ddls" else fast  # Langevin steps are taken in float64
        precision = None if method == "ddls" else precision
        make = maker(method, drawn_by, d, calibration, arguments.truncation)
    request = (arguments.n, seed, arguments.truncation, arguments.batch_size)
    batches = sampling.sample_batches(fast, chosen, *request, make)
    total = arguments.n * (1 if chosen is None else len(chosen))
    names = class_names(generator)
    about = {"model": arguments.model, "tag": _tag(arguments.model), "seed": seed, "truncation": arguments.truncation,
             "method": method, "precision": precision}  # fmt: skip
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
                    save_png(to_pil(image), path, {**about, "classes": label, "index": done + i})
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
        picture = labelled_grid(pictures, columns, rows)
        save_png(picture, out, {**about, "classes": ", ".join(names[label] for label in dict.fromkeys(labels))})
    print(f"{out}: {total} images of {arguments.model}, seed {seed}")


def morph(arguments: argparse.Namespace) -> None:
    from ..hub.load import load_generator
    from ..sampling import generate as sampling
    from ..sampling.morph import FILMS, save_film
    from ..sampling.morph import morph as between
    from ..sampling.pictures import labelled_grid, save_png

    out: Path = arguments.out
    suffix = out.suffix.lower()
    if suffix not in (".png", *FILMS):
        raise ValueError(f"out: got {out}, legal are FILE.png, {', '.join('FILE' + film for film in FILMS)}")
    check_writable(out.parent, create=False)
    generator = load_generator(arguments.model, device=arguments.device)
    seed = sampling.random_seed_from_system() if arguments.seed is None else arguments.seed
    rows = arguments.n if suffix == ".png" else 1
    fast, precision = _fast(generator, arguments)
    images = between(
        fast, arguments.classes, arguments.steps, rows, seed, arguments.truncation
    )  # (rows, frames, 3, S, S)
    if suffix == ".png":
        about = {"model": arguments.model, "tag": _tag(arguments.model), "seed": seed,
                 "truncation": arguments.truncation, "classes": " to ".join(arguments.classes),
                 "precision": precision}  # fmt: skip
        save_png(labelled_grid(images.flatten(0, 1), images.shape[1]), out, about)
    else:
        there_and_back = [images[0], images[0, 1:-1].flip(0)] if images.shape[1] > 2 else [images[0]]
        save_film(iter(there_and_back), out)
    print(f"{out}: {' to '.join(arguments.classes)} in {images.shape[1]} pictures, seed {seed}")


def walk(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..hub.load import load_generator
    from ..sampling import generate as sampling
    from ..sampling.morph import FILMS, FRAMES_PER_SECOND, save_film
    from ..sampling.morph import walk as frames_of

    out: Path = arguments.out
    if out.suffix.lower() not in FILMS:
        raise ValueError(f"out: got {out}, legal are {', '.join('FILE' + film for film in FILMS)}")
    if not 0 < arguments.seconds <= 60:
        raise ValueError(f"seconds: got {arguments.seconds}, legal is above 0 and up to 60")
    check_writable(out.parent, create=False)
    generator = load_generator(arguments.model, device=arguments.device)
    seed = sampling.random_seed_from_system() if arguments.seed is None else arguments.seed
    count = max(2, round(arguments.seconds * FRAMES_PER_SECOND))
    fast, _ = _fast(generator, arguments)
    batches = frames_of(fast, arguments.classes, count, seed, arguments.truncation)
    with tqdm(total=count, unit="frame", disable=None, leave=False) as bar:

        def counted():
            for batch in batches:
                yield batch
                bar.update(len(batch))

        save_film(counted(), out)
    print(f"{out}: {count} frames, {count / FRAMES_PER_SECOND:.1f} s, seed {seed}")


def score(arguments: argparse.Namespace) -> None:
    from ..class_names import resolve_classes
    from ..hub.listing import aligned
    from ..hub.load import load_discriminator
    from ..metrics.discriminator_scores import pictures_in, score_files

    paths = pictures_in(arguments.folder)
    discriminator = load_discriminator(arguments.model, device=arguments.device)
    names = discriminator.classes or [str(i) for i in range(discriminator.n_classes)] or ["score"]
    wanted = None
    if arguments.class_name is not None:
        (wanted,) = resolve_classes([arguments.class_name], discriminator.classes, discriminator.n_classes)
    least = -math.inf if arguments.at_least is None else arguments.at_least
    rows, unread = [], []
    for found in score_files(discriminator, paths):
        if found.scores is None:
            unread.append(f"{found.path}: {found.error}")
            if arguments.json:
                print(json.dumps({"file": str(found.path), "error": found.error}, ensure_ascii=False))
            continue
        folder = found.path.parent.name
        named = names.index(folder) if folder in names else int(found.scores.argmax())
        best = named if wanted is None else wanted
        rows.append((float(found.scores[best]), names[best], str(found.path)))
        if arguments.json and rows[-1][0] >= least:
            scores = dict(zip(names, found.scores.tolist(), strict=True))
            print(json.dumps({"file": str(found.path), "class": names[best], "score": rows[-1][0], "scores": scores},
                             ensure_ascii=False))  # fmt: skip
    if not rows:
        raise ValueError(f"folder: none of {len(paths)} pictures could be read; the first: {unread[0]}")
    if not arguments.json:
        heading = ["score", "as class", "file"]
        kept = [row for row in sorted(rows, reverse=True) if row[0] >= least]
        print("\n".join(aligned([heading, *([f"{s:.3f}", c, f] for s, c, f in kept)])))
        if arguments.at_least is not None:
            print(f"{len(kept)} of {len(rows)} pictures reach {least:g}", file=sys.stderr)
    for line in unread:
        print(f"not read: {line}", file=sys.stderr)


def _tag(model: str) -> str | None:
    from ..weights.records import find_record

    try:
        return find_record(model, "generator").tag
    except ValueError:
        return None


def spectrum(arguments: argparse.Namespace) -> None:
    from ..hub.listing import aligned
    from ..hub.load import load_discriminator, load_generator
    from ..metrics.spectrum import save_figure, spectra, table

    if arguments.out:
        if arguments.out.suffix.lower() != ".png":
            raise ValueError(f"out: got {arguments.out}, legal is FILE.png")
        check_writable(arguments.out.parent, create=False)
    load = load_generator if arguments.network == "generator" else load_discriminator
    rows = spectra(load(arguments.model, device=arguments.device))
    if arguments.json:
        print(json.dumps({row.layer: {"values": row.values.tolist(), "sigma": row.sigma} for row in rows}))
    else:
        print("\n".join(aligned(table(rows))))
    if arguments.out:
        save_figure(rows, arguments.out, f"{arguments.model}, {arguments.network}")


def evaluate(arguments: argparse.Namespace) -> None:
    from ..hub.cards import update_record
    from ..hub.load import load_generator
    from ..weights.records import find_record

    try:
        from ..metrics.protocols import evaluate as measure
        from ..metrics.protocols import json_line
    except ImportError as error:
        raise ValueError(f"{error}; scores need the extra: pip install 'sngan-hub[metrics]'") from error
    record = find_record(arguments.model, "generator") if arguments.record else None
    if record and record.folder is None:
        raise ValueError(f"record: {record.name} is not shipped here, so its record cannot take our scores")
    folder = record.folder.parent if record and record.folder else None
    generator = load_generator(arguments.model, device=arguments.device).for_sampling()
    model = record.name if record else arguments.model
    for name, score in measure(generator, arguments.data, arguments.protocol.split(","), arguments.seed):
        line = json_line(model, arguments.data, name, score)
        print(line, flush=True)
        if folder:
            fields = json.loads(line)
            update_record(folder, {name: {k: fields[k] for k in fields if k not in ("model", "data", "protocol")}})
        if not arguments.json:
            worst = min(score.per_class.items(), key=lambda item: item[1]) if score.per_class else None
            print(f"  {name}: {score.value:.4g}, real images {score.floor:.4g}"
                  + (f", worst class {worst[0]} {worst[1]:.3g}" if worst else ""), file=sys.stderr)  # fmt: skip
