"""``credit301``: every verb as a command, its options taken from the verb's own signature."""

from __future__ import annotations

import atexit
import functools
import inspect
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from credit301 import console, verbs
from credit301.errors import Credit301Error
from credit301.settings import get_settings
from credit301.workspace import Workspace

HELP = "Government and bank data to a real-time credit decision. 从政务与银行数据到实时信贷决策。"


def build_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """The command-line application with one command for each installed verb; `group.verb` is `credit301 group verb`.

    What a group is for is said by the module that holds its first verb.

    Args:
        arguments: what is asked for. Where it names a verb, the others are left out: their modules take seconds.
    """
    app = typer.Typer(name="credit301", help=HELP, no_args_is_help=True, add_completion=False)

    @app.callback()
    def root(
        context: typer.Context,
        workspace: Annotated[
            Path | None,
            typer.Option("--workspace", "-w", metavar="DIR", help="The city or bank to work on. 工作区目录。"),
        ] = None,
    ) -> None:
        context.obj = workspace

    groups: dict[str, typer.Typer] = {}
    for name in _asked(arguments) or verbs.names():
        verb = verbs.get(name)
        group, _, command = name.rpartition(".")
        if group and group not in groups:
            groups[group] = typer.Typer(help=inspect.getdoc(inspect.getmodule(verb)), no_args_is_help=True)
            app.add_typer(groups[group], name=group.replace("_", "-"))
        (groups[group] if group else app).command(name=command.replace("_", "-"))(_command(verb))
    return app


def _asked(arguments: Sequence[str]) -> list[str]:
    """Verbs that ``arguments`` may mean: those all of whose words are among them, before help is asked for."""
    words = {word.replace("-", "_") for word in itertools.takewhile(lambda word: word != "--help", arguments)}
    return [name for name in verbs.names() if words.issuperset(name.split("."))]


def _command(verb: verbs.Verb) -> Any:
    # Only the options' annotations are needed at run time; a verb may import Workspace for type checkers alone.
    parameters = [
        parameter.replace(annotation=eval(parameter.annotation, inspect.getmodule(verb).__dict__))  # noqa: S307
        if isinstance(parameter.annotation, str)
        else parameter
        for parameter in list(inspect.signature(verb).parameters.values())[1:]
    ]

    @functools.wraps(verb)
    def run(context: typer.Context, **options: Any) -> None:
        summary = verb(Workspace.load(context.obj or get_settings().workspace), **options)
        if summary:
            console.show_mapping(summary)

    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__signature__ = inspect.Signature([context, *keyword])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [context, *keyword]}
    run.__doc__ = (inspect.getdoc(verb) or "").split("\nArgs:")[0].split("\nRaises:")[0].split("\nReturns:")[0]
    del run.__wrapped__
    return run


def silence_finalisation() -> None:
    """Send what is written to standard error after this to nowhere; register it with ``atexit`` before anything else.

    DuckDB's binding prints pages on types that outlive it whenever a large library still refers to them. Handlers run
    last in, first out: one that is registered first runs when all that has something to say has said it.
    """
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def main() -> None:
    """Entry point: an error meant for a person is printed without a trace and ends with exit code 1."""
    atexit.register(silence_finalisation)
    try:
        build_app(sys.argv[1:])()
    except Credit301Error as error:
        console.say(f"error: {error.message}")
        if error.hint:
            console.say(f"  what to do: {error.hint}")
        sys.exit(1)
