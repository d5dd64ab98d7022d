"""The model card's account of lost sources: by models that have not seen the rows, or not at all."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from credit301.model.bundle import Bundle
from tests.support.scoring import BAD, GOOD, trained
from training import card

RECORDED: dict[str, Any] = {
    "whole": {"auc": 0.89, "rows": 123},
    "reduced": [
        {"kept": ["court", "tax_declaration"], "lost": ["business_registration"], "auc": 0.88, "peer": None},
        {"kept": ["court", "business_registration"], "lost": ["tax_declaration"], "auc": 0.70, "peer": 0.6},
        {"kept": ["court"], "lost": ["tax_declaration", "business_registration"], "auc": 0.6, "peer": None},
    ],
}


def seen() -> card.Tested:
    """Good and bad payers, each as the small bundle's model sees them."""
    rows = pd.DataFrame([GOOD, BAD] * 5).rename(columns=lambda key: key.replace(":", "__"))
    labels = np.array([0, 1] * 5)
    return card.Tested(rows, labels, np.where(labels == 1, 0.9, 0.1))


def bundle_of(*, nested: bool) -> Bundle:
    made = trained()
    return Bundle(msgspec.structs.replace(made.manifest, metrics={"nested": nested}), made.files, sha256="")


def test_tested_by_folds_it_says_what_training_recorded_out_of_fold_the_dearest_first() -> None:
    found = card._lost(bundle_of(nested=True), seen(), RECORDED)
    assert (found["whole"], found["nested"]) == (RECORDED["whole"], True)
    assert [row[0].split()[-1] for row in found["rows"]] == ["tax_declaration", "business_registration"]
    assert [row[1:] for row in found["rows"]] == [
        [0.70, pytest.approx(-0.19), 123],
        [0.88, pytest.approx(-0.01), 123],
    ]


def test_where_a_training_by_folds_recorded_nothing_it_says_nothing() -> None:
    """A model that has learnt from the rows would say too much of itself."""
    old = {name: value for name, value in RECORDED.items() if name != "whole"}
    assert card._lost(bundle_of(nested=True), seen(), old) == {"whole": {}, "rows": [], "nested": True}


def test_on_a_test_that_it_has_not_learnt_from_the_model_itself_is_asked() -> None:
    bundle = bundle_of(nested=False)
    found = card._lost(bundle, seen(), RECORDED)
    assert (found["whole"], found["nested"]) == ({"auc": 1.0, "rows": 10}, False)
    views = {view.name for view in bundle.manifest.views}
    assert {row[0].split()[-1] for row in found["rows"]} == views
    assert all(row[3] == 10 for row in found["rows"])
