"""Files of a run: what people want, and nothing from elsewhere."""

import csv
import os
import socket

import httpx
import pytest
from browser import watching
from hypothesis import given
from hypothesis import strategies as st
from run_folders import healthy

from protocols.errors import DataError
from server.dashboard.downloads import attachment, file_of, files_of

SIGNALS = "of a person"
PRIVATE = (
    "people/s1.h5",
    "stores/node-0/student.safetensors",
    "pack.key",
    "packs/p/shard.bin",
    "nodes/n.json",
    ".lock",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with everything that must not be had beside what may."""
    runs = tmp_path_factory.mktemp("runs")
    folder = healthy(runs / "done", rounds=3)
    (runs / "outside.txt").write_text(SIGNALS)
    for name in PRIVATE:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SIGNALS)
    plots = folder / "plots"
    plots.mkdir()
    (plots / "accuracy.svg").write_text("<svg><script>alert(1)</script></svg>")
    (plots / "out.txt").symlink_to(runs / "outside.txt")
    (plots / "people").symlink_to(folder / "people")
    (plots / "key.svg").hardlink_to(folder / "pack.key")  # a second name
    (plots / "circle").symlink_to("circle")
    os.mkfifo(plots / "pipe")
    (folder / "results" / "fold0").mkdir(parents=True)
    (folder / "results" / "fold0" / "federated.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def page(folder):
    with watching(folder.parent) as (address, _):
        yield address


def test_what_people_want_is_listed_with_its_size(folder):
    listed = dict(files_of(folder))
    assert list(listed) == [
        "run.json",
        "result.json",
        "rounds.jsonl",
        "results/fold0/federated.json",
        "plots/accuracy.svg",
    ]
    assert listed["rounds.jsonl"] == (folder / "rounds.jsonl").stat().st_size


def test_a_folder_that_is_gone_lists_nothing(tmp_path):
    assert files_of(tmp_path / "gone") == []


OUTSIDE = (
    "",
    ".",
    "..",
    "../outside.txt",
    "plots/../../outside.txt",
    "plots/out.txt",
    "plots/people/s1.h5",
    "plots/../pack.key",
    "plots/key.svg",
    "plots/circle",
    "plots/pipe",
    "plots",
    "results/fold0",
    "run.json/",
    "run.json\0",
    "/etc/passwd",
    "//etc/passwd",
    "plots/" + "x" * 5000,
    "C:\\run.json",
    "~/.ssh/id_rsa",
    "\udcff",
    *PRIVATE,
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_else_is_a_file_of_the_run(folder, name):
    if name == "run.json/":  # pathlib drops the slash, and the file is ours
        assert file_of(folder, name).name == "run.json"
    else:
        with pytest.raises(DataError, match="no file"):
            file_of(folder, name)


@given(
    st.lists(
        st.sampled_from(["..", ".", "plots", "people", "results", "run.json", "out.txt", "pack.key", ""]),
        max_size=6,
    )
)
def test_no_path_leads_out(folder, parts):
    try:
        found = file_of(folder, "/".join(parts))
    except DataError:
        return
    assert found.is_relative_to(folder.resolve())
    assert found.read_text() != SIGNALS


def test_a_file_comes_as_it_is_and_is_only_kept(page, folder):
    answer = httpx.get(f"{page}/download/done/rounds.jsonl")
    assert answer.content == (folder / "rounds.jsonl").read_bytes()
    picture = httpx.get(f"{page}/download/done/plots/accuracy.svg")
    assert picture.headers["content-type"] == "application/octet-stream"
    assert picture.headers["content-disposition"] == 'attachment; filename="accuracy.svg"'
    assert picture.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "done/../outside.txt",
        "done/..%2foutside.txt",
        "done/%2e%2e/outside.txt",
        "done/%2e%2e%2foutside.txt",
        "done/plots%2f..%2f..%2foutside.txt",
        "done/%2fetc%2fpasswd",
        "done//etc/passwd",
        "done/plots/out.txt",
        "done/plots/pipe",
        "done/run.json%00",
        "done/pack.key",
        "done/people/s1.h5",
        "../runs/outside.txt",
        "%2e%2e/outside.txt",
        "..%2f..%2fetc/passwd",
        "./outside.txt",
        "none/run.json",
    ],
)
def test_no_address_leads_out(page, path):
    host, port = page.removeprefix("http://").split(":")
    answer = raw_get(host, int(port), f"/download/{path}")  # a browser, and httpx, would tidy it up
    assert answer.startswith(b"HTTP/1.1 404")
    assert SIGNALS.encode() not in answer
    assert b"root:" not in answer


def raw_get(host, port, target):
    with socket.create_connection((host, port), 10) as connection:
        connection.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
        )
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_rounds_come_as_csv(page):
    answer = httpx.get(f"{page}/run/done/rounds.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="done-rounds.csv"'
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [(row["method"], row["round"]) for row in rows] == [
        (method, str(number)) for method in ("federated", "federated_distilled") for number in (1, 2, 3)
    ]
    assert httpx.get(f"{page}/run/none/rounds.csv").status_code == 404


def test_a_files_name_breaks_no_header():
    assert (
        attachment('a"; filename="b\r\nX: y\u202e.csv') == 'attachment; filename="a___filename__b__X__y_.csv"'
    )
