"""The number of processors follows the affinity and the cgroups, see cgroups(7)."""

import os

import pytest

from nondet.execute.executors.processors import available_processors, cpu_quota


@pytest.fixture
def groups(tmp_path):
    """Return a function that writes cgroup files and returns the quota read from them."""

    def read(membership, files):
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "self").write_text(membership)
        return cpu_quota(tmp_path / "cgroup", tmp_path / "self")

    return read


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 50000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n", "a/cpu.max": "400000 100000\n"}, 0.5),
        ("0::/a\n", {"a/cpu.max": "400000 100000\n", "b/cpu.max": "100000 100000\n"}, 4),
        # In a container: the path is that of the host, the group is the root of the mount.
        ("0::/docker/abc\n", {"cpu.max": "250000 100000\n"}, 2.5),
        ("0::/../other\n", {"cpu.max": "100000 100000\n"}, 1),
        (
            "4:memory:/m\n3:cpu,cpuacct:/job\n",
            {
                "cpu,cpuacct/job/cpu.cfs_quota_us": "300000",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            },
            3,
        ),
        (
            "2:cpu:/\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
        (
            "2:cpuset:/\n",
            {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
        ("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "100000"}, None),
        ("1:name=systemd:/\n0::/x\n", {"unified/x/cpu.max": "100000 50000"}, 2),
        ("nonsense\n", {"cpu.max": "what"}, None),
    ],
)
def test_quota(groups, membership, files, quota):
    assert groups(membership, files) == quota


def test_there_is_no_quota_without_cgroups(tmp_path):
    assert cpu_quota(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("cores", "quota", "count"), [(8, 3, 3), (8, 2.9, 2), (2, 4, 2), (4, 0.2, 1)]
)
def test_the_smaller_of_affinity_and_quota_counts(tmp_path, monkeypatch, cores, quota, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    (tmp_path / "self").write_text("0::/\n")
    (tmp_path / "cpu.max").write_text(f"{int(quota * 100000)} 100000\n")
    assert available_processors(tmp_path, tmp_path / "self") == count
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert available_processors(tmp_path, tmp_path / "self") == cores
