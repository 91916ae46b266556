"""How a process waits for torch, and what else it finds in place of what was there."""

from pathlib import Path

import pytest


def test_torch_that_a_thread_imports_is_found_in_the_main_thread_too(trace, script):
    traced = trace(
        script("""
            import threading
            end = threading.Event()
            threading.Thread(target=end.wait, name="early").start()
            def work():
                import torch
            thread = threading.Thread(target=work, name="work")
            thread.start()
            thread.join()
            end.set()
        """)
    )
    assert set(traced.streams) == {"main", "main/thread work"}
    assert traced.streams["main"]["runs_in"] == "MainThread"
    early = "main/thread early ran before torch was imported"
    assert traced.streams["main/thread work"]["thread"] == early


def test_an_import_that_fails_may_be_tried_again(trace, script, stubs):
    (stubs / "torch" / "__init__.py").write_text(
        "import os\n"
        "if 'READY' not in os.environ: raise ImportError('not yet')\n"
        "class Tensor: pass\n"
    )
    traced = trace(
        script("""
            import os
            try:
                import torch
            except ImportError as error:
                print(error)
            os.environ["READY"] = "1"
            import torch
            print(torch.__loader__.__class__.__name__, torch.__spec__.loader is torch.__loader__)
        """)
    )
    assert traced.out == "not yet\nSourceFileLoader True\n"
    assert set(traced.streams) == {"main"}


def test_an_import_that_fails_leaves_no_stream(trace, script, stubs):
    (stubs / "torch" / "__init__.py").write_text("raise RuntimeError('broken')")
    traced = trace(script("import torch"))
    assert traced.code == 1
    assert "RuntimeError: broken" in traced.err
    assert traced.streams == {}
    assert traced.unseen == {}


@pytest.mark.parametrize(
    "imported",
    [
        "import torch.nn",
        "from torch import nn",
        "import importlib; importlib.import_module('torch.nn')",
        "import runpy; runpy.run_module('torch.nn')",
    ],
)
def test_torch_is_found_however_it_is_imported(trace, script, stubs, imported):
    (stubs / "torch" / "nn.py").write_text("")
    assert set(trace(script(imported)).streams) == {"main"}


def test_a_lazy_import_is_found(trace, script):
    traced = trace(
        script("""
            import importlib.util, sys
            spec = importlib.util.find_spec("torch")
            spec.loader = importlib.util.LazyLoader(spec.loader)
            module = importlib.util.module_from_spec(spec)
            sys.modules["torch"] = module
            spec.loader.exec_module(module)
            print(module.Tensor.__name__)
        """)
    )
    assert traced.out == "Tensor\n"
    assert set(traced.streams) == {"main"}


def test_a_module_of_the_users_that_is_called_torch_is_none(trace, script, stubs):
    (stubs / "torch" / "__init__.py").write_text("")
    traced = trace(script("import torch"))
    assert traced.streams == {}
    assert traced.unseen == {}


def test_torch_that_came_past_the_hook_is_said_to_be_missed(trace, script):
    traced = trace(
        script("""
            import importlib.util, sys
            sys.meta_path.pop(0)
            import torch
        """)
    )
    assert traced.streams == {}
    assert list(traced.unseen) == ["main is not recorded: torch was imported by unusual means"]


def test_a_hidden_sitecustomize_runs(trace, script, stubs):
    (stubs / "sitecustomize.py").write_text("import os; os.environ['SITE'] = __file__")
    traced = trace(
        script("""
            import os, sys, sitecustomize, torch
            print(sitecustomize.__file__ == os.environ["SITE"])
            print([path for path in sys.path if "injected" in path])
        """)
    )
    assert traced.out == "True\n[]\n"
    assert set(traced.streams) == {"main"}


def test_a_hidden_sitecustomize_may_import_torch_or_start_python(trace, script, stubs):
    (stubs / "sitecustomize.py").write_text(
        "import os, subprocess, sys, torch\n"
        "if 'DONE' not in os.environ:\n"
        "    subprocess.run([sys.executable, '-c', ''], env=os.environ | {'DONE': '1'})\n"
    )
    assert set(trace(script("")).streams) == {"main", "main/command 1"}


@pytest.mark.parametrize("fault", ["1 / 0", "import no_such_module", "import sitecustomize.x"])
def test_a_hidden_sitecustomize_that_fails_says_what_it_said(trace, script, stubs, fault):
    (stubs / "sitecustomize.py").write_text(fault)
    traced = trace(script("import torch"))
    assert traced.err.startswith("Error in sitecustomize; set PYTHONVERBOSE for traceback:\n")
    assert traced.code == 0
    assert set(traced.streams) == {"main"}


def test_a_process_has_its_paths_arguments_and_modules(trace, script):
    """A script finds nothing but the finder of imports."""
    path = script("""
        import sys
        print(sys.path, sys.argv, sys.flags, __file__, __name__)
        ours = sorted(name for name in sys.modules if name.startswith("nondet"))
        print(ours, sorted({"json", "re", "typing"} & set(sys.modules)))
    """)
    traced = trace(path, "--option")
    assert traced.out.startswith(f"['{Path(path).parent}', ")
    assert f"['{path}', '--option']" in traced.out
    modules = traced.out.splitlines()[1]
    assert "'nondet'" not in modules


def test_a_recorder_that_cannot_start_lets_the_script_run_and_says_so_once(
    trace, script, monkeypatch
):
    monkeypatch.setenv("FAIL", "no room")
    traced = trace(
        script("""
            import subprocess, sys, torch
            subprocess.run([sys.executable, "-c", "import torch"])
            print("done")
        """)
    )
    assert (traced.out, traced.code) == ("done\n", 0)
    assert traced.err.count("is not recorded: RuntimeError: no room\n") == 1
    assert list(traced.unseen) == [
        "main is not recorded: RuntimeError: no room",
        "main/command 1 is not recorded: RuntimeError: no room",
    ]


def test_another_nondet_does_not_record(trace, script, stubs):
    (stubs / "nondet" / "__init__.py").write_text("__version__ = '0.0.1'")
    traced = trace(script("import torch"))
    [unseen] = traced.unseen
    assert "nondet 0.0.1 in" in unseen


def test_without_nondet_that_of_the_launcher_is_taken(trace, script, stubs):
    """A Python that finds no nondet, as in an environment of its own, takes the one that traces."""
    (stubs / "nondet").rename(stubs / "other")
    path = script("""
        import sys
        sys.path[:] = [each for each in sys.path if "site-packages" not in each]
        sys.path[:] = [each for each in sys.path if not each.endswith("python")]
        import torch
        print("nondet.tracing.options" in sys.modules, sys.modules["nondet"].__file__)
    """)
    traced = trace(path)
    import nondet

    assert traced.out == f"True {nondet.__file__}\n"
