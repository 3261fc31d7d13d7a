"""The command line, `textgan`. Commands import what they need when they run, so help is instant.

Exit status: 0 success, 2 bad input, 1 a fault of the machine or a bug, 130 interrupted. Errors are
one or two lines on standard error; TEXTGAN_DEBUG=1 shows the traceback.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version
from inspect import getdoc
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperOption

from core.errors import MachineError, TextganError, machine_error
from core.process import hear_interrupts, look_less_for_garbage
from core.server_errors import server_error
from experiments.commands import corpus, evaluate, metrics, run, runs, study, tools


class Command(TyperCommand):
    """A command that warns of an option that is given twice; Click takes the last silently."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Also counts the options."""
        _, _, given = self.make_parser(ctx).parse_args(args=[*args])
        options = (each for each in given if isinstance(each, TyperOption))
        names = [each.opts[0] for each in options if not (each.is_flag or each.multiple)]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            sys.stderr.write(f"textgan: warning: {twice} is given twice; the last one counts\n")
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="textgan",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (run, study, evaluate, tools, runs, corpus, metrics):
    for command in module.app.registered_commands:
        command.cls = Command
        # Lines of a paragraph are joined, except after a colon; Typer does this with the first one.
        command.help = re.sub(r"(?<![:\n])\n(?!\n)", " ", getdoc(command.callback) or "")
for module in (run, study, evaluate, tools):
    app.add_typer(module.app)  # without a name: its commands are the program's
app.add_typer(runs.app, name="runs")
app.add_typer(corpus.app, name="corpus")
app.add_typer(metrics.app, name="metrics")
INTERRUPTED = 130
OTHER_NAMES = {"train": "run", "generate": "sample", "tune": "study", "serve": "ui"}
_type_in_help = TyperOption.display_type_rich


def _no_type_of_flags(option: TyperOption, ctx: Any) -> str | None:
    """Typer writes `<bool>` after options that take no value."""
    return None if option.is_flag else _type_in_help(option, ctx)


TyperOption.display_type_rich = _no_type_of_flags  # type: ignore[assignment, method-assign]


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"textgan {version('textgan-lab')}")
        raise typer.Exit


@app.callback()
def program(
    version_: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Find out which choices make a text GAN work."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    hear_interrupts()
    look_less_for_garbage()
    result = status(arguments)
    # Python 3.11 remembers an interrupt that came while it ran a string of code, as dataclasses do
    # in an import. `python -m` would then end with SIGINT. Running another string makes it forget.
    exec("")  # noqa: S102
    sys.exit(result)


def status(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit status."""
    try:
        result = app(args=arguments, prog_name="textgan", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except typer.TyperException as error:
        if message := _usage(error):  # empty if the help was shown
            _say(message)
        return error.exit_code
    except TextganError as error:
        if os.environ.get("TEXTGAN_DEBUG"):
            raise
        _say(str(error))
        return error.exit_status
    except Exception as error:
        if os.environ.get("TEXTGAN_DEBUG"):
            raise
        _say(_unexpected(error))
        return MachineError.exit_status
    # Typer answers an interrupt with this number. Of a study its main process says it, not each
    # worker.
    if result == INTERRUPTED and (arguments or sys.argv[1:])[:1] != ["worker"]:
        _say("interrupted")
    return result if isinstance(result, int) else 0


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the command line; a wrong value in our words, not in its validator's."""
    from pydantic import ValidationError

    from core.faults import must

    message, fault = error.format_message(), error.__context__
    if unknown := re.fullmatch(r"No such command '(.+)'\.", message):
        meant = OTHER_NAMES.get(unknown[1])
        return f"no command {unknown[1]!r}; " + (
            f"did you mean {meant!r}?" if meant else "textgan --help lists the commands"
        )
    if not isinstance(fault, ValidationError):
        return message
    option = message.removeprefix("Invalid value for ").partition(": ")[0].strip("'")
    first = fault.errors()[0]
    return f"{option} {first['input']}: {must(first).rstrip('.')}"


def _unexpected(error: Exception) -> str:
    if known := machine_error(error) or server_error(error):
        return str(known)
    first = (str(error).strip() or "no message").splitlines()[0][:300]
    return f"unexpected {type(error).__name__}: {first}\nTEXTGAN_DEBUG=1 shows where"


def _say(text: str) -> None:
    sys.stderr.write(f"textgan: {text}\n")
