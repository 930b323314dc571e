"""``dds-fast factorize``: a recording taken apart without a search, into components of its own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dds_fast.choices import FACTORIZATIONS, INITS, LOSSES

FACTORS, TEMPLATES, ACTIVATIONS = "factors.npz", "templates.png", "activations.png"

OF_METHOD = {
    "nmf": ("components", "loss", "init", "sparsity"),
    "nae": ("components", "penalty"),
    "langevin": ("dictionary", "sources"),
}
"""Options that not every method has."""


def add(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "factorize",
        help="plain NMF, an autoencoder, or posterior samples of a recording",
        description="Take a recording apart without a search. OUT gets a folder of its name with a "
        f"stem per component, {FACTORS}, {TEMPLATES} and {ACTIVATIONS}.",
    )
    parser.add_argument("input", type=Path, metavar="IN", help="audio file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder")
    parser.add_argument(
        "--method",
        choices=FACTORIZATIONS,
        default="nmf",
        help="non-negative factors, those of a non-negative autoencoder, or a dictionary's sources "
        "by Langevin sampling",
    )
    parser.add_argument(
        "--components", type=int, metavar="J", help="of nmf and nae, how many (default: 8)"
    )
    parser.add_argument("--loss", choices=LOSSES, help="of nmf (default: euclidean)")
    parser.add_argument("--init", choices=INITS, help="of nmf, where it starts (default: random)")
    parser.add_argument(
        "--sparsity", type=float, metavar="W", help="of nmf, weight of the L1 norm (default: 0)"
    )
    parser.add_argument(
        "--penalty", type=float, metavar="W", help="of nae, weight of the L1 norm (default: 0)"
    )
    parser.add_argument(
        *("-d", "--dictionary"),
        type=Path,
        metavar="FILE",
        help="of langevin, one with a flow (default: the packaged piano)",
    )
    parser.add_argument(
        "--sources",
        metavar="A,B,...",
        help="of langevin, MIDI numbers or names (default: all of the dictionary)",
    )
    parser.add_argument(
        "--max-steps",
        type=int,
        metavar="N",
        help="most updates; of langevin, steps per noise level (default: nmf 200, nae 500, "
        "langevin 100)",
    )
    parser.add_argument("--page", action="store_true", help="a page to listen to, OUT/IN/page.html")
    parser.add_argument("--device", help="cpu, cuda (default: a GPU if there is one)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    return parser


def run(options: argparse.Namespace) -> int:
    from dds_fast.command.files import folder_of
    from dds_fast.files import probe_file
    from dds_fast.methods import factorize
    from dds_fast.plots import activations, templates
    from dds_fast.plots.figure import beside_results, save_figure
    from dds_fast.results import PAGE, check_finite

    given = _given(options)
    if not options.input.is_file():
        raise FileNotFoundError(f"no such file: {options.input}")
    folder, overwrite = folder_of(options.input, options.output), options.overwrite
    for name in (FACTORS, TEMPLATES, ACTIVATIONS, *[PAGE] * options.page):
        probe_file(folder / name, overwrite)
    result = factorize(
        options.input,
        options.method,
        device=options.device,
        random_state=options.seed,
        progress=True,
        **given,
    )
    check_finite(result, options.input)
    stems = result.separate()
    paths = stems.save(folder, overwrite=overwrite)
    if options.page:
        stems.to_html(folder / PAGE, overwrite=overwrite)
        paths.append(folder / PAGE)
    result.save(folder / FACTORS, overwrite=overwrite)
    W, H = result
    with beside_results(folder / TEMPLATES) as path:
        shown = W if W.ndim == 2 else W.mean(axis=2).T
        save_figure(templates(shown, result.frequencies, result.sources), path, overwrite=overwrite)
    with beside_results(folder / ACTIVATIONS) as path:
        drawn = activations(result.source_activations, result.times, result.sources)
        save_figure(drawn, path, overwrite=overwrite)
    for path in (*paths, folder / FACTORS, folder / TEMPLATES, folder / ACTIVATIONS):
        print(path)
    return 130 if result.stop_reason == "interrupted" else 0


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The method's own options by their names in Python.

    Raises:
        ValueError: one of another method.
    """
    for method, names in OF_METHOD.items():
        for name in names:
            if getattr(options, name) is not None and name not in OF_METHOD[options.method]:
                raise ValueError(f"--{name} is for --method {method}, not {options.method}")
    given = {
        ("n_components" if name == "components" else name): getattr(options, name)
        for name in OF_METHOD[options.method]
    }
    given["n_steps"] = options.max_steps
    if options.sources is not None:
        parts = [part.strip() for part in options.sources.split(",")]
        given["sources"] = [int(part) if part.isdecimal() else part for part in parts]
    return {name: value for name, value in given.items() if value is not None}
