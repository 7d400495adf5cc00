"""Split CSVs."""

import pytest

from distillation.partitions import Partition, read_partitions, write_partitions
from protocols.errors import DataError

HEADER = "start,end,split,dataset_number,user_number,dataset\n"
ROW = "1690000000.25,1690000001.5,train,3,12,discrete_gestures_user_012_dataset_003.hdf5\n"
EXPECTED = Partition(
    "discrete_gestures_user_012_dataset_003.hdf5", "train", 1690000000.25, 1690000001.5, 12, 3
)


def test_a_row_is_a_partition(tmp_path):
    (tmp_path / "s.csv").write_text(HEADER + ROW)
    assert read_partitions(tmp_path / "s.csv") == (EXPECTED,)


def test_the_order_of_columns_does_not_matter(tmp_path):
    cells = dict(zip(HEADER.strip().split(","), ROW.strip().split(","), strict=True))
    names = sorted(cells)
    (tmp_path / "s.csv").write_text(",".join(names) + "\n" + ",".join(cells[n] for n in names) + "\n")
    assert read_partitions(tmp_path / "s.csv") == (EXPECTED,)


def test_writing_and_reading_gives_the_same(tmp_path):
    rows = (EXPECTED, Partition("b.hdf5", "test", 0.1 + 0.2, 1e9 / 3, 0, 0))
    write_partitions(rows, tmp_path / "s.csv")
    assert read_partitions(tmp_path / "s.csv") == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("end,", "") + ROW, r"columns \['end'\] are missing"),
        (HEADER + ROW + "soon,2,train,0,0,a.hdf5\n", "line 3: .*soon"),
        (HEADER + "1,2,train,0\n", "line 2"),
        (HEADER + "1,2,train,0,0\n", "line 2: expected 6 values"),
        (HEADER + "2,1,train,0,0,a.hdf5\n", "line 2: expected start before end"),
        (HEADER + "1,nan,train,0,0,a.hdf5\n", "line 2: expected start before end"),
        ("", "columns"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=rf"s\.csv.*{message}"):
        read_partitions(tmp_path / "s.csv")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv"):
        read_partitions(tmp_path / "none.csv")
