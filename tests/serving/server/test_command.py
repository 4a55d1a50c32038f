"""`serve` on the command line: what it is given, and how it ends."""

from __future__ import annotations

import argparse
import socket
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from embedded_process import embedded_process
from lookups import Lookups

from serving.server import command
from serving.server.errors import SetupError
from serving.server.model_config import read_exports
from serving.server.options import ServerOptions


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([*arguments]))


def test_sigterm_finishes_what_was_begun(small_exports: Path) -> None:
    with embedded_process(small_exports) as server:
        ended = threading.Event()
        outcomes: list[str] = []

        def ask() -> None:
            with grpc.insecure_channel(server.address) as channel:
                asked = Lookups(channel)
                while not ended.is_set():
                    try:
                        asked.lookup(timeout=20)
                        outcomes.append("OK")
                    except grpc.RpcError as error:
                        outcomes.append(error.code().name)  # type: ignore[attr-defined]
                        return

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        time.sleep(0.5)
        assert server.stop() == 0
        ended.set()
        for asker in askers:
            asker.join()
    assert outcomes.count("OK") > 20
    # What came too late is told that nobody is there, which clients take as a reason to go elsewhere.
    assert set(outcomes) <= {"OK", "UNAVAILABLE"}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "expected folders <model>/<version>/saved_model.pb"),
        ({"models.config": "model_config_list { }"}, "with a model in"),
        ({"models.config": "models {"}, "expected a ModelServerConfig as text"),
        ({"models.config": 'model_config_list { config { name: "a" base_path: "b" } }'}, "neither"),
        ({"models.config": 'model_config_list { config { base_path: "b" } }'}, "have a name"),
        ({"models.config": 'model_config_list { config { name: "a" } }'}, "expected base_path of model 'a'"),
    ],
)
def test_exports_that_are_none(tmp_path: Path, files: dict[str, str], told: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(SetupError, match=told):
        read_exports(tmp_path / "models.config" if files else tmp_path)


def test_folders_and_configurations_that_are_exports(tmp_path: Path) -> None:
    for folder in ("a/1", "b/007", "not a model", ".hidden"):
        (tmp_path / folder).mkdir(parents=True)
    assert [model.name for model in read_exports(tmp_path).config] == ["a", "b"]
    assert [(model.name, model.base_path) for model in read_exports(tmp_path / "a").config] == [
        ("a", str(tmp_path / "a"))
    ]
    text = 'model_config_list { config { name: "x" base_path: "a" model_platform: "tensorflow" } }'
    (tmp_path / "models.config").write_text(text)
    assert read_exports(tmp_path / "models.config").config[0].base_path == str(tmp_path / "a")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "-1"),
        ("--port", "9", "--rest-port", "9"),
        ("--poll-seconds", "-1"),
        ("--max-message-mib", "0"),
        ("--tls-key", "key.pem"),
        ("--token-file", "no/such/file"),
        (),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(str(tmp_path / "nothing"), *arguments) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: expected ")


@pytest.mark.parametrize("option", ["port", "rest_port"])
def test_a_port_that_is_taken(own_exports: Path, serve: Any, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(SetupError, match=f"expected 127.0.0.1:{port} to be free"),
            serve(own_exports, **{option: port}),
        ):
            pass


def test_shared_batching_parameters_are_read_at_once(own_exports: Path, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "zero.pbtxt").write_text("max_batch_size { value: 0 }")
    for name, told in (("nowhere.pbtxt", "No such file"), ("zero.pbtxt", "max_batch_size must be positive")):
        with pytest.raises(SetupError, match=told), serve(own_exports, batching_parameters=tmp_path / name):
            pass


@pytest.mark.parametrize(
    ("host", "bare", "url"),
    [("::1", "::1", "[::1]"), ("[::1]", "::1", "[::1]"), ("localhost", "localhost", "localhost")],
)
def test_hosts_may_be_in_brackets(host: str, bare: str, url: str) -> None:
    options = ServerOptions(exports=Path(), host=host)
    assert (options.bare_host, options.url_host) == (bare, url)


def test_two_servers_do_not_share_a_port(own_exports: Path, serve: Any) -> None:
    with (
        serve(own_exports) as first,
        pytest.raises(SetupError, match="to be free"),
        serve(own_exports, port=first.port),
    ):
        pass


def test_a_token_is_not_printed() -> None:
    assert "hush" not in repr(ServerOptions(exports=Path(), token="hush"))  # noqa: S106
