from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bottomup_fast.errors import InputError
from bottomup_fast.ops import build_info
from bottomup_fast.ops import library as ops

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "csrc"))
import cuda_toolkit  # noqa: E402


def make_toolkit(root: Path, release: str = "13.0", header: bool = True) -> Path:
    """A folder that looks like a CUDA toolkit; its nvcc says which one it is, as NVIDIA's does."""
    for folder in ("bin", "include", "lib64"):
        (root / folder).mkdir(parents=True)
    (root / "lib64" / "libcudart_static.a").touch()
    nvcc = root / "bin" / "nvcc"
    nvcc.write_text(
        f"""#!/bin/sh
case "$1" in
--version) echo "Cuda compilation tools, release {release}, V{release}.88" ;;
--dryrun) printf '#$ _SPACE_= \\n#$ TOP={root}/bin/..\\n' >&2 ;;
esac
"""
    )
    nvcc.chmod(0o755)
    if header:
        (root / "include" / "cuda_runtime.h").touch()
    return root


def test_finds_a_toolkit(tmp_path: Path) -> None:
    root = make_toolkit(tmp_path / "cuda", release="12.9")
    plan = cuda_toolkit.plan_cuda_build({}, [tmp_path / "none", root])
    assert (plan.root, plan.toolkit) == (root, "12.9")
    assert plan.record() == {"toolkit": "12.9", "reason": None, "architectures": ["8.0+PTX"]}


def test_builds_for_the_machines_gpus(tmp_path: Path) -> None:
    root = make_toolkit(tmp_path / "cuda")

    def architectures(**environment: str) -> tuple[str, ...]:
        gpus = [(9, 0), (8, 6), (9, 0)]
        return cuda_toolkit.plan_cuda_build(environment, [root], lambda: gpus).architectures

    assert architectures() == ("8.6", "9.0")
    assert architectures(TORCH_CUDA_ARCH_LIST="7.5 12.0+PTX") == ("7.5", "12.0+PTX")
    release = architectures(TORCH_CUDA_ARCH_LIST="release")
    assert release[0] == "7.5"
    assert release[-1] == "12.0+PTX"
    assert len(release) == 9


@pytest.mark.parametrize("wanted", ["Ampere", "80", "8.0+"])
def test_refuses_what_is_no_list_of_capabilities(wanted: str, tmp_path: Path) -> None:
    environment = {"TORCH_CUDA_ARCH_LIST": wanted}
    with pytest.raises(cuda_toolkit.BuildError, match=r"^TORCH_CUDA_ARCH_LIST=.* is no compute"):
        cuda_toolkit.plan_cuda_build(environment, [make_toolkit(tmp_path / "cuda")])


def test_ptx_is_asked_for_beside_machine_code() -> None:
    assert list(cuda_toolkit.gencode_flags(["8.6", "12.0+PTX"])) == [
        "-gencode=arch=compute_86,code=sm_86",
        "-gencode=arch=compute_120,code=sm_120",
        "-gencode=arch=compute_120,code=compute_120",
    ]


def test_compiles_each_kernel_once(tmp_path: Path) -> None:
    root = make_toolkit(tmp_path / "cuda toolkit")
    log = tmp_path / "log"
    (root / "bin" / "nvcc").write_text(
        "#!/bin/sh\nwhile [ $# -gt 1 ]; do "
        'case "$1" in -o) : > "$2" ;; -MF) : > "$2" ;; -c) ' + f'echo "$2" >> "{log}" ;; esac; '
        "shift; done\n"
    )
    sources = tmp_path / "a b"
    (sources / "losses_cuda").mkdir(parents=True)
    kernel = sources / "losses_cuda" / "losses.cu"
    kernel.touch()
    build = cuda_toolkit.CudaBuild(root, "13.0", None, ("8.0",))
    for _ in range(2):
        objects = cuda_toolkit.compile_kernels(build, sources, tmp_path / "objects")
        assert objects == [str(tmp_path / "objects" / "losses_cuda" / "losses.o")]
        assert Path(objects[0]).exists()
    assert log.read_text().split("\n") == [str(kernel), ""]
    (root / "bin" / "nvcc").write_text("#!/bin/sh\nexit 1\n")
    (sources / "other.cu").touch()
    with pytest.raises(cuda_toolkit.BuildError, match="does not compile"):
        cuda_toolkit.compile_kernels(build, sources, tmp_path / "objects")


@pytest.mark.parametrize("request_", ["auto", None])
def test_no_toolkit_is_recorded(request_: str | None, tmp_path: Path) -> None:
    environment = {} if request_ is None else {"BOTTOMUP_CUDA": request_}
    plan = cuda_toolkit.plan_cuda_build(environment, [tmp_path])
    assert (plan.root, plan.toolkit) == (None, None)
    assert plan.reason.startswith("no CUDA toolkit found")


def test_half_a_toolkit_is_none(tmp_path: Path) -> None:
    no_header = make_toolkit(tmp_path / "a", header=False)
    no_nvcc = make_toolkit(tmp_path / "b")
    (no_nvcc / "bin" / "nvcc").unlink()
    broken = make_toolkit(tmp_path / "c")
    (broken / "bin" / "nvcc").write_text("#!/bin/sh\nexit 1\n")
    not_executable = make_toolkit(tmp_path / "d")
    (not_executable / "bin" / "nvcc").chmod(0o644)
    no_runtime = make_toolkit(tmp_path / "e")
    (no_runtime / "lib64" / "libcudart_static.a").unlink()
    folders = [no_header, no_nvcc, broken, not_executable, no_runtime]
    assert [cuda_toolkit.toolkit_version(folder) for folder in folders] == [None] * 5


def test_zero_does_not_look(tmp_path: Path) -> None:
    plan = cuda_toolkit.plan_cuda_build({"BOTTOMUP_CUDA": "0"}, [make_toolkit(tmp_path / "cuda")])
    assert plan.record() == {
        "toolkit": None,
        "reason": "built with BOTTOMUP_CUDA=0",
        "architectures": [],
    }


def test_one_demands_a_toolkit(tmp_path: Path) -> None:
    with pytest.raises(cuda_toolkit.BuildError, match=r"^BOTTOMUP_CUDA=1, but no CUDA toolkit"):
        cuda_toolkit.plan_cuda_build({"BOTTOMUP_CUDA": "1"}, [tmp_path])
    root = make_toolkit(tmp_path / "cuda")
    assert cuda_toolkit.plan_cuda_build({"BOTTOMUP_CUDA": "1"}, [root]).toolkit == "13.0"


def test_looks_where_the_user_says_first(tmp_path: Path) -> None:
    environment = {"CUDA_HOME": f"{tmp_path}/home", "CUDA_PATH": f"{tmp_path}/path", "PATH": ""}
    folders = list(cuda_toolkit.candidate_folders(environment))
    assert folders[:3] == [tmp_path / "home", tmp_path / "path", Path("/usr/local/cuda")]


def test_sees_through_a_wrapper_on_the_path(tmp_path: Path) -> None:
    root = make_toolkit(tmp_path / "cuda")
    wrapper = tmp_path / "bin" / "nvcc"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {root}/bin/nvcc "$@"\n')
    wrapper.chmod(0o755)
    assert cuda_toolkit.folder_of_nvcc(wrapper) == root
    path = f"{wrapper.parent}:{os.environ['PATH']}"
    assert next(cuda_toolkit.candidate_folders({"PATH": path})) == root


def test_follows_a_link_to_an_nvcc_that_tells_nothing(tmp_path: Path) -> None:
    root = make_toolkit(tmp_path / "cuda")
    (root / "bin" / "nvcc").write_text("#!/bin/sh\n")
    link = tmp_path / "nvcc"
    link.symlink_to(root / "bin" / "nvcc")
    assert cuda_toolkit.folder_of_nvcc(link) == root


def test_setup_refuses_an_unknown_request_in_one_line() -> None:
    run = subprocess.run(
        [sys.executable, "setup.py", "--name"],
        cwd=ROOT,
        env={**os.environ, "BOTTOMUP_CUDA": "yes"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == "error: BOTTOMUP_CUDA=yes: must be auto, 0 or 1"
    assert "Traceback" not in run.stderr


def test_build_info() -> None:
    info = build_info()
    assert set(info) == {"library", "compiler", "stable_abi", "cpu", "cuda", "runtime"}
    assert Path(info["library"]).is_file()
    assert Path(info["runtime"]).is_file()
    assert info["compiler"].startswith(("g++ ", "clang "))
    assert info["stable_abi"] == "2.11"
    assert info["cpu"]["path"] in info["cpu"]["available"]
    assert info["cpu"]["available"][0] == "portable"
    assert set(info["cuda"]) == {"toolkit", "reason", "architectures"}
    assert (info["cuda"]["architectures"] == []) == bool(info["cuda"]["reason"])
    assert json.loads(json.dumps(info)) == info


def test_library_needs_torch_but_no_python() -> None:
    library = Path(build_info()["library"]).read_bytes()
    assert b"libtorch_cpu.so" in library
    assert b"libtorch_python.so" not in library
    assert b"libpython" not in library
    assert b"PyInit" not in library


def test_a_missing_library_names_the_build_command(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=r"_C.abi3.so is missing; build it with: pip install"):
        ops._load(tmp_path / "_C.abi3.so")


def test_a_damaged_library_names_the_build_command(tmp_path: Path) -> None:
    library = tmp_path / "_C.abi3.so"
    library.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ImportError, match=r"cannot be loaded: .*_C.abi3.so.*; build it with: pip"):
        ops._load(library)


def test_an_unknown_cpu_path() -> None:
    with pytest.raises(InputError, match=r"^BOTTOMUP_CPU=mmx: must be one of portable"):
        ops._check_cpu_path("mmx")
    ops._check_cpu_path("portable")
    ops._check_cpu_path(None)
