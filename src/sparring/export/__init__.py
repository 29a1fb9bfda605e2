"""What leaves a run: a model that the ecosystem loads without us, its data, rows for other trainers, and the Hub.

    export(Run("runs/mine"), Path("my-model"))                  a Hugging Face folder with its card
    data(Run("runs/mine"), Path("my-data"))                     rollouts and training rows, Parquet with a card
    to(Run("runs/mine"), Path("rows"), "trl")                   training rows as another trainer reads them
    push(Path("my-model"), "me/my-model", private=True)         to the Hub

Every folder is written whole or not at all, and takes the place of nothing but an earlier export of the same run. Each
holds `sparring.json`, which says what it is, and for a model how it was spoken to.
"""

from sparring.export.chosen import Chosen, best_round, choose, rolled_back_to
from sparring.export.dataset import data
from sparring.export.folder import export
from sparring.export.hub import push
from sparring.export.speech import speech
from sparring.export.trainers import to

__all__ = ["Chosen", "best_round", "choose", "data", "export", "push", "rolled_back_to", "speech", "to"]
