"""Which processes are recorded, in which role, and which a trace says that it did not see."""

import sys
from pathlib import Path

import pytest


def test_main_is_recorded_with_its_options(trace, script):
    traced = trace(script("import torch"), level="modules", steps=(3, 5))
    [main] = traced.streams.values()
    assert (main["role"], main["level"], main["steps"]) == ("main", "modules", [3, 5])
    assert main["stopped"]
    assert traced.unseen == {}


@pytest.mark.parametrize(
    "start",
    [
        "subprocess.run([sys.executable, '-c', 'import torch'])",
        "subprocess.run([sys.executable, '-c', 'import torch'], close_fds=False)",  # posix_spawn
        "subprocess.run([sys.executable, '-c', 'import torch'], env={**os.environ, 'X': '1'})",
        "subprocess.run([sys.executable, '-c', 'import torch'], preexec_fn=lambda: None)",
        "os.waitpid(os.posix_spawn(sys.executable, ['python', '-c', 'import torch'],"
        " os.environ), 0)",
    ],
)
def test_commands_are_numbered(trace, script, start):
    traced = trace(script(f"import os, subprocess, sys, torch\n{start}\n{start}"))
    assert set(traced.streams) == {"main", "main/command 1", "main/command 2"}
    assert traced.unseen == {}


def test_numbers_follow_the_order_in_which_the_parent_starts(trace, script):
    """The first child is the last to import torch."""
    traced = trace(
        script("""
            import subprocess, sys
            wait = "import sys, torch; sys.stdin.read()"
            first = subprocess.Popen(
                [sys.executable, "-c", "import sys; sys.stdin.read(); import torch", "one"],
                stdin=subprocess.PIPE,
            )
            subprocess.run([sys.executable, "-c", "import torch"], env=None)
            first.communicate()
            print(first.pid)
        """)
    )
    assert traced.streams["main/command 1"]["pid"] == int(traced.out)
    assert set(traced.streams) == {"main/command 1", "main/command 2"}


def test_an_environment_copied_before_gives_no_number_twice(trace, script):
    traced = trace(
        script("""
            import os, subprocess, sys
            environment = dict(os.environ)
            for _ in range(3):
                subprocess.run([sys.executable, "-c", "import torch"], env=environment)
        """)
    )
    assert set(traced.streams) == {f"main/command {number}" for number in (1, 2, 3)}


@pytest.mark.parametrize("changed", ["os.environ", "env"])
def test_a_script_may_set_pythonpath(trace, script, stubs, changed):
    traced = trace(
        script(f"""
            import os, subprocess, sys
            env = dict(os.environ)
            {changed}["PYTHONPATH"] = {str(stubs)!r}
            inherits = {changed == "os.environ"}
            subprocess.run([sys.executable, "-c", "import torch"], env=None if inherits else env)
        """)
    )
    assert set(traced.streams) == {"main/command 1"}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("imported", ["parent", pytest.param("child", marks=pytest.mark.slow)])
def test_processes_of_multiprocessing_have_their_names(trace, script, method, imported):
    traced = trace(
        script(f"""
            import multiprocessing, sys
            {"import torch" if imported == "parent" else ""}
            def work():
                import torch
            if __name__ == "__main__":
                context = multiprocessing.get_context("{method}")
                for name in ("one", "one", "two"):
                    process = context.Process(target=work, name=name)
                    process.start()
                    process.join()
                    assert process.exitcode == 0
        """)
    )
    children = {f"main/process {name}" for name in ("one", "one #2", "two")}
    assert set(traced.streams) == children | ({"main"} if imported == "parent" else set())
    assert all(stream["stopped"] for stream in traced.streams.values())
    assert {role: each.given for role, each in traced.processes.items() if role in children} == {
        role: role for role in children
    }
    assert traced.unseen == {}


def test_a_forkserver_may_have_imported_torch_before(trace, script):
    traced = trace(
        script("""
            import multiprocessing
            def work():
                pass
            if __name__ == "__main__":
                context = multiprocessing.get_context("forkserver")
                context.set_forkserver_preload(["torch"])
                process = context.Process(target=work, name="one")
                process.start()
                process.join()
        """)
    )
    assert set(traced.streams) == {"main/forkserver", "main/process one"}
    assert traced.unseen == {}


def test_forks_have_streams_of_their_own(trace, script):
    traced = trace(
        script("""
            import os, sys, torch
            for end in (os._exit, sys.exit):
                if os.fork() == 0:
                    if os.fork() == 0:
                        end(0)
                    os.wait()
                    end(0)
                os.wait()
        """)
    )
    roles = {"main", "main/fork 1", "main/fork 2", "main/fork 1/fork 1", "main/fork 2/fork 1"}
    assert set(traced.streams) == roles
    assert all(stream["stopped"] for stream in traced.streams.values())


def test_exec_goes_on_in_a_stream_of_its_own(trace, script):
    traced = trace(
        script("""
            import os, sys, torch
            if sys.argv[1:]:
                print("again")
            else:
                os.execvp("python", [sys.executable, __file__, "again"])
        """)
    )
    assert traced.out == "again\n"
    assert set(traced.streams) == {"main", "main/exec"}
    assert traced.streams["main"]["stopped"]


def test_exec_of_nothing_fails_and_recording_goes_on(trace, script):
    traced = trace(
        script("""
            import os, torch
            try:
                os.execvp("no-such-program", ["no-such-program"])
            except FileNotFoundError:
                assert os.fork() or os._exit(0) is None
                os.wait()
        """)
    )
    assert set(traced.streams) == {"main", "main/fork 1"}
    assert traced.unseen == {}


def test_processes_that_a_shell_starts_share_its_number(trace, script):
    traced = trace(
        script("""
            import os, subprocess
            command = 'python -c "import torch"'
            subprocess.run(f"{command}; {command}", shell=True)
            os.system(command)
        """)
    )
    assert set(traced.streams) == {
        "main/command sh 1",
        "main/command sh 1 #2",
        "main/command sh 2",
    }
    assert traced.unseen == {}


def test_a_traced_shell_script_starts_main(trace, script):
    text = 'python -c "import torch"\npython -c "import torch"\n'
    traced = trace(script(text, "run.sh"), program="bash")
    assert set(traced.streams) == {"main", "main #2"}
    assert traced.unseen == {}


def test_ranks_have_their_number(trace, script):
    """A child of a rank inherits RANK and is none."""
    traced = trace(
        script("""
            import os, subprocess, sys, torch
            for rank in "10":
                subprocess.run(
                    [sys.executable, "-c", '''if True:
                        import subprocess, sys, torch
                        subprocess.run([sys.executable, "-c", "import torch"])
                    '''],
                    env=os.environ | {"RANK": rank},
                )
        """)
    )
    ranks = {"rank 0", "rank 1", "rank 0/command 1", "rank 1/command 1"}
    assert set(traced.streams) == {"main", *ranks}
    assert traced.unseen == {}


def test_a_command_with_a_rank_is_that_rank(trace, script, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    traced = trace(script("import torch"))
    assert set(traced.streams) == {"rank 3"}
    assert traced.unseen == {}


def test_python_without_torch_is_no_stream_and_not_unseen(trace, script):
    traced = trace(script("import subprocess, sys; subprocess.run([sys.executable, '-c', 'pass'])"))
    assert traced.streams == {}
    assert {role: each.torch for role, each in traced.processes.items()} == {
        "main": "",
        "main/command 1": "",
    }
    assert traced.unseen == {}
    assert "nothing was recorded" in traced.err


@pytest.mark.parametrize(
    ("arguments", "environment", "unseen"),
    [
        ("'-S', '-c', 'secret'", "None", "-S -c started without the trace"),
        ("'-W', 'ignore', '-I', 'x.py', 'secret'", "None", "-W ignore -I x.py started "),
        ("'-Scprint(\"secret\")'", "None", "-Sc started without the trace"),
        ("'-Em', 'site'", "None", "-Em site started without the trace"),
        ("'-c', 'pass'", "{}", "-c started without the trace, in an environment without"),
    ],
)
def test_a_python_that_leaves_the_trace_is_unseen(trace, script, arguments, environment, unseen):
    script("", "x.py")
    traced = trace(
        script(f"""
            import subprocess, sys, torch
            for _ in range(2):
                subprocess.run([sys.executable, {arguments}], env={environment})
        """)
    )
    [(what, count)] = traced.unseen.items()
    assert what.startswith(f"{Path(sys.executable).name} {unseen}")
    assert count == 2
    assert "secret" not in (traced.folder / "trace.json").read_text()


def test_other_programs_are_unseen_but_for_those_that_run_no_torch(trace, script, tmp_path):
    program = tmp_path / "program"
    program.symlink_to("/bin/true")
    traced = trace(
        script(f"""
            import subprocess
            subprocess.run([{str(program)!r}, "argument"])
            subprocess.run(["./program"], cwd={str(tmp_path)!r})
            subprocess.run(["uname"], stdout=-3)
            try:
                subprocess.run(["no-such-program"])
            except FileNotFoundError:
                pass
        """)
    )
    assert traced.unseen == {"program started without the trace": 2}


def test_a_command_that_is_not_python_is_unseen(trace):
    traced = trace(program="true")
    assert traced.code == 0
    assert traced.unseen == {"true started without the trace": 1}
    assert "nothing was recorded" in traced.err
    assert "true started without the trace" in traced.err


@pytest.mark.slow
def test_roles_are_equal_in_two_runs_of_children_that_start_at_once(trace, script):
    path = script("""
        import multiprocessing, subprocess, sys
        def work(number):
            import torch
        if __name__ == "__main__":
            commands = [subprocess.Popen([sys.executable, "-c", "import torch"]) for _ in range(4)]
            with multiprocessing.get_context("fork").Pool(3) as pool:
                pool.map(work, range(12), chunksize=1)
            [command.wait() for command in commands]
    """)
    wanted = {f"main/command {number}" for number in (1, 2, 3, 4)}
    for _ in range(2):
        traced = trace(path)
        assert wanted <= set(traced.streams)
        assert set(traced.streams) - wanted <= {
            f"main/process ForkPoolWorker-{number}" for number in (1, 2, 3)
        }


def test_strange_names_of_processes_give_files_of_their_own(trace, script):
    names = ["a/b", "a+b", "a b", "a_b", "ä", "..", "x" * 300, "x" * 301, "a\n"]
    traced = trace(
        script(f"""
            import multiprocessing, torch
            context = multiprocessing.get_context("fork")
            for name in {names!r}:
                process = context.Process(target=print, name=name)
                process.start()
                process.join()
        """)
    )
    assert set(traced.processes) == {"main", *(f"main/process {name}" for name in names)}


@pytest.mark.slow
def test_a_nested_trace_takes_its_own_processes(trace, script, stubs, tmp_path):
    inner = script(
        f"""
        import os, sys
        sys.path[:0] = {[path for path in sys.path if path]!r}
        from pathlib import Path
        from nondet.tracing.launch.run import trace_command
        from nondet.tracing.options import Options
        os.environ["PYTHONPATH"] = {str(stubs)!r}
        trace_command([sys.executable, "-c", "import torch"], Path("inner"), Options())
        """
    )
    traced = trace(inner)
    assert traced.streams == {}
    assert len(list((tmp_path / "inner").glob("*.events"))) == 1


def test_what_torch_starts_to_compile_has_numbers_of_its_own_and_no_streams(trace, script, stubs):
    """A cache decides if it starts: the numbers of other children may not depend on it."""
    (stubs / "torch" / "_inductor").mkdir()
    (stubs / "torch" / "_inductor" / "__init__.py").write_text("")
    (stubs / "torch" / "_inductor" / "cpp.py").write_text(
        "import multiprocessing, os, subprocess, sys\n"
        "def check():\n"
        "    subprocess.run([sys.executable, '-c', 'import torch'])\n"
        "    subprocess.run(['uname'], stdout=-3)\n"
        "    process = multiprocessing.get_context('spawn').Process(target=os.getpid, name='a')\n"
        "    process.start()\n"
        "    process.join()\n"
    )
    traced = trace(
        script("""
            import subprocess, sys
            from torch._inductor.cpp import check
            if __name__ == "__main__":
                check()
                subprocess.run([sys.executable, "-c", "import torch"])
        """)
    )
    assert set(traced.streams) == {"main", "main/command 1"}
    assert set(traced.processes) - set(traced.streams) == {
        "main/compiler 1",
        "main/compiler a",
        "main/resource tracker",
    }
    assert traced.unseen == {}
