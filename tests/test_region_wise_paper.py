"""The studies of the region-wise paper claim what it prints, and their rows hold what it says."""

from dataclasses import replace

import pytest
import yaml

from edgewise.data.layouts.brats18 import CLASSES as BRATS_CLASSES
from edgewise.data.layouts.challenges import ACDC
from edgewise.data.layouts.kits19 import CLASSES as KITS_CLASSES
from edgewise.losses.compound import equal, gradual
from edgewise.losses.cross_entropy import CrossEntropy
from edgewise.losses.dice import Dice
from edgewise.losses.focal import Focal
from edgewise.losses.rectified_cross_entropy import RectifiedCrossEntropy
from edgewise.losses.region_wise import RegionWise
from edgewise.maps.boundary import boundary
from edgewise.training.optimise import Adam, Poly
from shipped_files import STUDIES, rows

# As printed in Valverde and Tohka 2022 (doi:10.1016/j.patcog.2022.109208), Tables 2 to 4: Dice and largest distance of
# each class, each with its standard deviation; without the asterisks of significant differences.
REGION_WISE = {
    2: """
                             RV           RV             myocardium   myocardium     LV           LV
    rectified_region_wise    0.90 0.09    14.58 11.03    0.90 0.03    9.01 7.62      0.94 0.05    7.53 5.95
    rectified_cross_entropy  0.87 0.09    16.23 10.44    0.87 0.04    8.85 5.23      0.94 0.05    7.43 5.50
    dice                     0.87 0.11    20.98 15.34    0.89 0.03    13.87 21.83    0.94 0.05    11.40 19.29
    focal                    0.89 0.09    14.89 11.07    0.90 0.03    9.90 14.60     0.94 0.05    8.44 13.44
    boundary                 0.89 0.09    16.55 13.85    0.90 0.04    8.41 5.39      0.94 0.06    8.36 7.85
    """,
    3: """
                             ET           ET             ED           ED             NCR_NET      NCR_NET
    rectified_region_wise    0.80 0.15    20.76 19.32    0.78 0.14    37.48 18.56    0.61 0.26    16.47 12.64
    rectified_cross_entropy  0.80 0.14    23.59 18.75    0.76 0.13    35.76 18.83    0.61 0.26    16.39 11.99
    dice                     0.79 0.16    77.49 16.67    0.77 0.14    74.22 13.83    0.61 0.25    61.48 22.34
    focal                    0.80 0.14    19.27 18.16    0.78 0.14    37.01 19.25    0.61 0.26    16.16 14.63
    boundary                 0.80 0.15    19.04 15.58    0.78 0.14    29.35 18.80    0.60 0.27    16.87 12.45
    """,
    4: """
                             kidney       kidney         tumour       tumour
    rectified_region_wise    0.95 0.04    20.29 16.64    0.57 0.31    56.38 30.92
    rectified_cross_entropy  0.92 0.04    22.16 17.18    0.51 0.34    56.70 31.21
    dice                     0.94 0.04    21.02 18.44    0.53 0.31    84.29 25.04
    focal                    0.95 0.04    19.84 15.73    0.51 0.35    41.37 29.52
    boundary                 0.94 0.05    18.62 16.00    0.51 0.33    55.50 30.48
    """,
}
# Its Table 5, first row.
REGION_WISE_5 = """
                  ED    ES     ED     ES
      RV          0.95  0.89   12.0   13.9
      myocardium  0.91  0.92   9.3    11.8
      LV          0.97  0.93   6.2    10.5
"""
BRATS = {"ET": "enhancing tumour", "ED": "oedema", "NCR_NET": "non-enhancing core"}


class TestClaims:
    @pytest.mark.parametrize("number", REGION_WISE)
    def test_the_tables_of_the_region_wise_paper_are_claimed_cell_by_cell(self, number):
        head, *lines = [line.split() for line in REGION_WISE[number].strip().splitlines()]
        made = rows(f"regionwise/table{number}")
        assert list(made) == [line[0] for line in lines]
        for name, *numbers in lines:
            cells = list(map(float, numbers))
            classes = [BRATS.get(column, column) for column in head[::2]]
            assert [claim.of for claim in made[name].claims] == classes
            for place, claim in enumerate(made[name].claims):
                dice, dice_spread, distance, distance_spread = cells[4 * place : 4 * place + 4]
                assert claim.values == {"dice": dice, "hd": distance}, (name, claim.of)
                assert claim.deviations == {"dice": dice_spread, "hd": distance_spread}, (name, claim.of)
                assert claim.source == f"Valverde and Tohka 2022, Table {number}"

    def test_the_classes_of_the_region_wise_tables_are_those_of_their_datasets(self):
        for number, classes in ((2, ACDC.classes), (3, BRATS_CLASSES), (4, KITS_CLASSES), (5, ACDC.classes)):
            for row in rows(f"regionwise/table{number}").values():
                assert {claim.of for claim in row.claims} == {*classes[1:]}

    def test_its_row_of_the_competition_is_claimed_by_phase(self):
        (row,) = rows("regionwise/table5").values()
        found = {(claim.of, "diastole" in claim.data): claim.values for claim in row.claims}
        lines = [line.split() for line in REGION_WISE_5.strip().splitlines()[1:]]
        assert len(found) == len(row.claims) == 2 * len(lines)
        for name, *numbers in lines:
            dice, later_dice, distance, later_distance = map(float, numbers)
            assert found[name, True] == {"dice": dice, "hd": distance}
            assert found[name, False] == {"dice": later_dice, "hd": later_distance}


class TestRows:
    DICE, SIGNED, RECTIFIED = Dice(eps=1e-6), RegionWise(map=boundary), RegionWise()

    @pytest.mark.parametrize("number", [2, 3, 4])
    def test_the_five_losses_are_those_of_the_text_and_nothing_else_changes(self, number):
        made = rows(f"regionwise/table{number}")
        wanted = {
            "rectified_region_wise": self.RECTIFIED,
            "rectified_cross_entropy": RectifiedCrossEntropy(),
            "dice": self.DICE,
            "focal": Focal(gamma=2.0),
            "boundary": gradual(self.DICE, self.SIGNED),
        }
        first = made["rectified_region_wise"]
        for name, row in made.items():
            assert row.loss == wanted[name]
            assert replace(row, name="x", claim=None, loss=first.loss) == replace(first, name="x", claim=None)

    def test_the_strategies_of_figure_6_are_every_pair_of_map_loss_and_weights(self):
        wanted = {
            f"{map_}_{extra}_{how.__name__}": how(region, region_wise)
            for map_, region_wise in (("boundary", self.SIGNED), ("rectified", self.RECTIFIED))
            for extra, region in (("dice", self.DICE), ("cross_entropy", CrossEntropy()))
            for how in (equal, gradual)
        }
        assert {name: row.loss for name, row in rows("regionwise/figure6").items()} == wanted
        made = {name: row.loss for name, row in rows("regionwise/figure6c").items()}
        assert made == {name: loss for name, loss in wanted.items() if name.startswith("boundary")}

    def test_figure_5_compares_the_maps_alone(self):
        made = {name: row.loss for name, row in rows("regionwise/figure5").items()}
        assert made == {"rectified": self.RECTIFIED, "boundary": self.SIGNED}

    @pytest.mark.parametrize(("study", "count"), [("table2", 3), ("figure5", 50), ("figure6", 3), ("figure6c", 50)])
    def test_there_are_as_many_trainings_as_the_paper_has(self, study, count):
        content = yaml.safe_load(STUDIES[f"regionwise/{study}"].read_text(encoding="utf-8"))
        assert content["seeds"] == list(range(count))

    def test_all_train_as_the_paper_says(self):
        for study in STUDIES:
            if not study.startswith("regionwise/"):
                continue
            for row in rows(study).values():
                training = row.training
                assert training.optimiser == Adam(rate=1e-4, weight_decay=3e-5)
                assert (training.schedule, training.clip, training.average) == (Poly(power=0.9), 12.0, 0.0)
                assert training.foreground == pytest.approx(1 / 3)

    def test_the_competition_validates_on_its_test_set(self):
        (row,) = rows("regionwise/table5").values()
        assert row.split.validation == tuple(f"patient{number}" for number in range(101, 151))
        assert (row.plan.batch, row.plan.widths[0], row.plan.spacing[:2]) == (10, 48, (1.25, 1.25))
        assert row.network.norm == "batch"
