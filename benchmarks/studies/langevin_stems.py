"""Cross-likelihood of waveform priors of any stems.

    python benchmarks langevin_stems WORK STEMS -o OUT

STEMS holds a folder per track with an audio file per source, as the ``train`` of musdb18's WAV
edition does; with ``--musdb`` it is the root of musdb18, of either edition. The last tenth of the
crops tests. Flows in WORK and finished matrices in OUT/stems.json are kept.
"""

from __future__ import annotations

import numpy as np
import store
from studies.wave_priors import CROP, SIZES, compare, trained

from dds_fast.datasets import StemCrops, musdb18, stem_folder
from dds_fast.methods.priors import BankPrior

LEVELS = (0.0, 0.0129, 0.0359, 0.129, 0.359)


def main() -> None:
    parser = store.parser(__doc__, "work", "stems")
    parser.add_argument("--musdb", action="store_true", help="STEMS is the root of musdb18")
    parser.add_argument("--clip", type=int, default=4000, help="samples of a test clip")
    options = parser.parse_args()
    read = musdb18 if options.musdb else stem_folder
    crops = read(options.stems, n_samples=max(CROP, options.clip), crops_per_track=20)
    n_test = max(1, len(crops.tracks) // 10)
    if n_test == len(crops.tracks):
        parser.error("one track cannot both train and test: two are needed at least")

    def part(tracks: list) -> StemCrops:
        return StemCrops(
            tracks, crops.sources, n_samples=crops.n_samples, crops_per_track=20, sr=crops.sr
        )

    training, test = part(crops.tracks[:-n_test]), part(crops.tracks[-n_test:])
    clips = np.stack([test[i][:, : options.clip] for i in range(len(test))], axis=1)
    about, file = {"flow": SIZES}, options.output / "stems.json"
    study = store.Study(file, ("name",), trial=options.trial, about=about)
    bank = None
    for sigma in LEVELS:
        bank = trained(options.work, training, test, sigma, bank)
        picture = options.output / f"stems_{sigma:.3f}.png"
        compare(study, BankPrior(bank), clips, crops.sources, sigma, picture)
