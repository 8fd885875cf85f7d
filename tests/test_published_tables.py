"""The experiment files of papers claim what the papers print, and hold what row and column of a table say."""

import pytest

from edgewise.methods.coarse_to_fine import CoarseToFine, Detecting, Segmenting
from edgewise.methods.lrnet import LRNet
from edgewise.methods.lsnet import LSNet
from shipped_files import experiment, names

# As printed in Li et al. 2020 (arXiv:2501.09116), Tables 1 and 2.
TABLE_1 = """
                  O-DM    I-DM    NI-DM   NI-DMs  SNI-DM
l1                0. 6993 0.7310  0.7420  0.7381  0.7342
dice_l1           0.6842  0.7003  0.7172  0.6914  0.6281
dice_alpha_l1     0.7101  0.7169  0.7375  0.7228  0.6510
mapdice_l1        0.6874  0.7135  0.7289  0.7283  0.6384
mapdice_alpha_l1  0.6904  0.7303  0.7463  0.7445  0.6961
""".replace("0. 6993", "0.6993")
TABLE_2 = """
                  DC     DG     VOE    RVD     ASSD   MSD    RMSD
dice              0.647  0.888  0.292  0.065   0.809  6.201  1.292
mapdice           0.661  0.870  0.298  0.116   0.944  7.005  1.482
ulrnet_l1         0.628  0.715  0.395  -0.049  1.328  8.683  1.983
lrnet_l1          0.748  0.931  0.262  -0.016  0.674  5.548  1.100
dice_lrnet_l1     0.721  0.913  0.273  0.118   0.754  6.134  1.218
mapdice_lrnet_l1  0.751  0.935  0.252  0.070   0.654  5.708  1.079
wce               0.622  0.883  0.379  -0.253  1.134  6.425  1.597
gds               0.658  0.910  0.286  -0.024  0.886  6.192  1.350
tversky           0.738  0.930  0.261  0.059   0.667  5.589  1.094
focal_tversky     0.738  0.923  0.273  0.050   0.734  5.920  1.184
explog            0.737  0.921  0.255  0.126   0.708  6.152  1.160
multi_branch      0.723  0.917  0.288  0.016   0.748  5.921  1.199
cascaded          0.722  0.906  0.285  0.034   0.796  6.026  1.251
"""
# As printed in Caliva et al. 2019 (arXiv:1908.03679), Section 3, in percent.
PENALTY = """
                         B-DSC  ±     G-DSC  ±
penalised_cross_entropy  28.83  4.45  96.42  0.80
dice                     26.73  5.40  96.34  1.21
confidence_penalty       25.81  3.02  95.96  1.30
focal                    26.70  4.27  95.00  1.00
"""
# As printed in Xie et al. 2021 (arXiv:2102.05971), Tables 1 to 4, in percent. Table 4 is turned here, and its mIoU in
# training left out, which no run measures.
LSNET = {
    "table1": """
                           dice_slices  precision_slices  sensitivity_slices
    u_net                  86.56        89.60             90.29
    attention_u_net        86.88        89.60             90.29
    coarse_to_fine_u_net   87.41        90.05             91.36
    lsnet_u_net            88.20        92.50             90.45
    fcn                    84.28        88.68             86.85
    coarse_to_fine_fcn     86.16        91.78             87.84
    lsnet_fcn              87.20        92.60             89.07
    """,
    "table2": """
                           dice_slices
    s_net                  84.69
    s_net_loss             86.51
    s_net_loss_l_net       87.86
    s_net_loss_l_net_rr    88.20
    """,
    "table3": """
                           mean_iou     dice_slices
    u_net                  83.83        87.41
    l_net                  86.58        87.86
    """,
    "table4": """
                           mean_iou     dice_slices
    decay_0                86.58        87.86
    decay_0_01             84.88        88.05
    decay_0_1              84.98        88.20
    decay_1                84.68        87.21
    """,
}
COLUMNS_2 = {
    "DC": "dice", "DG": "dice_global", "VOE": "voe", "RVD": "rvd", "ASSD": "assd", "MSD": "msd", "RMSD": "rmsd"
}  # fmt: skip


def table(text):
    """Row -> column -> number."""
    head, *rows = [line.split() for line in text.strip().splitlines()]
    return {row[0]: dict(zip(head, map(float, row[1:]), strict=True)) for row in rows}


class TestClaims:
    def test_table_1_of_lrnet_is_claimed_cell_by_cell(self):
        cells = {
            f"{row}_{column.lower().replace('-', '_')}": value
            for row, values in table(TABLE_1).items()
            for column, value in values.items()
        }
        assert len(cells) == 25
        assert names("lrnet/table1/") == set(cells)
        for name, value in cells.items():
            claim = experiment(f"lrnet/table1/{name}").claim
            assert claim.values == {"dice": value}, name
            assert (claim.of, claim.source) == ("tumour", "Li et al. 2020, Table 1")

    def test_table_2_of_lrnet_is_claimed_cell_by_cell(self):
        rows = table(TABLE_2)
        assert len(rows) == 13
        assert names("lrnet/table2/") == set(rows)
        for name, values in rows.items():
            claim = experiment(f"lrnet/table2/{name}").claim
            assert claim.values == {COLUMNS_2[column]: value for column, value in values.items()}, name
            assert (claim.of, claim.source) == ("tumour", "Li et al. 2020, Table 2")

    def test_the_numbers_of_the_penalty_paper_are_claimed(self):
        rows = {row: list(values.values()) for row, values in _four_columns(PENALTY).items()}
        assert names("penalty/") == {*rows, "weighted_cross_entropy"}
        for name, (boundary, boundary_spread, whole, whole_spread) in rows.items():
            claim = experiment(f"penalty/{name}").claim
            assert claim.values == {"dice": _share(whole), "bdice": _share(boundary)}, name
            assert claim.deviations == {"dice": _share(whole_spread), "bdice": _share(boundary_spread)}, name
        assert experiment("penalty/weighted_cross_entropy").claim is None

    def test_the_number_of_rdd_is_claimed(self):
        assert names("rdd/") == {"dsc"}
        assert experiment("rdd/dsc").claim.values == {"dice": 0.8642}

    @pytest.mark.parametrize("number", [1, 2, 3, 4])
    def test_the_tables_of_lsnet_are_claimed_cell_by_cell(self, number):
        rows = table(LSNET[f"table{number}"])
        assert names(f"lsnet/table{number}/") == set(rows)
        for name, values in rows.items():
            claim = experiment(f"lsnet/table{number}/{name}").claim
            assert claim.values == {column: _share(value) for column, value in values.items()}, name
            assert (claim.of, claim.source) == ("pancreas", f"Xie et al. 2021, Table {number}")


def _four_columns(text):
    return table(text.replace("±", "spread", 1).replace("±", "spread2", 1))


def _share(percent):
    return round(percent / 100, 4)


class TestRows:
    def test_the_cells_of_table_1_hold_what_row_and_column_say(self):
        maps = {
            "o_dm": ("distance", "relu"),
            "i_dm": ("inverse", "relu"),
            "ni_dm": ("normalized_inverse", "relu"),
            "ni_dms": ("normalized_inverse", "sigmoid"),
            "sni_dm": ("signed_normalized_inverse", "tanh"),
        }
        for row in table(TABLE_1):
            for column, (map_, activation) in maps.items():
                each = experiment(f"lrnet/table1/{row}_{column}")
                method = each.method
                assert isinstance(method, LRNet)
                assert (method.map.kind, method.last, method.weights) == (map_, activation, "frozen")
                assert (method.segmentation == "none") == (row == "l1")
                assert each.loss.kind == ("map_dice" if row.startswith("mapdice") else "dice")
                heavy = 1000 if activation == "sigmoid" else 10
                assert method.weight == (heavy if "alpha" in row else 1)

    @pytest.mark.parametrize(
        ("name", "network", "loss", "first", "decay"),
        [
            ("table1/u_net", "resnet_unet", "sum", "none", 0),
            ("table1/attention_u_net", "attention_unet", "sum", "none", 0),
            ("table1/coarse_to_fine_u_net", "resnet_unet", "sum", "resnet_unet", 0),
            ("table1/lsnet_u_net", "resnet_unet", "sum", "unet", 0.1),
            ("table1/fcn", "resnet_fcn", "sum", "none", 0),
            ("table1/coarse_to_fine_fcn", "resnet_fcn", "sum", "resnet_fcn", 0),
            ("table1/lsnet_fcn", "resnet_fcn", "sum", "fcn", 0.1),
            ("table2/s_net", "resnet_unet", "cross_entropy", "none", 0),
            ("table2/s_net_loss_l_net", "resnet_unet", "sum", "unet", 0),
            ("table4/decay_0", "resnet_unet", "sum", "unet", 0),
            ("table4/decay_0_01", "resnet_unet", "sum", "unet", 0.01),
            ("table4/decay_1", "resnet_unet", "sum", "unet", 1),
        ],
    )
    def test_the_rows_of_lsnet_hold_what_the_tables_say(self, name, network, loss, first, decay):
        each = experiment(f"lsnet/{name}")
        assert (each.network.kind, each.loss.kind) == (network, loss)
        assert network == "attention_unet" or each.network.encoder.depth == 34
        match each.method:
            case LSNet() as method:
                found = method.localisation.network
                assert (found.decoder, method.decay) == (first, decay)
                assert (method.recalibration.margin, method.recalibration.size) == (15, "auto")
            case CoarseToFine(first=Detecting() as stage) as method:
                found = stage.localisation.network
                assert (found.decoder, method.crop.border) == (first, 15)
            case CoarseToFine(first=Segmenting(network=found)) as method:
                assert (found.kind, method.crop.border) == (first, 15)
            case method:
                assert (method.kind, first) == ("supervised", "none")
                return
        assert found.encoder.depth == 18
        assert decay == 0 or isinstance(method, LSNet)
