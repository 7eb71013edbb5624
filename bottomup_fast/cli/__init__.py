"""The command line `bottomup`: one file a command; torch is imported only once a command runs."""

from __future__ import annotations

import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bottomup_fast import __version__
from bottomup_fast.cli import bench, compare, data, evaluate, export, info, models, segment, train
from bottomup_fast.errors import InputError


class _Commands(TyperGroup):
    """Turns what a user can mend into one line on stderr and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # typer ends quietly when nobody reads on
            raise
        except KeyboardInterrupt as error:
            shown, code = "interrupted", 130
            raised: BaseException = error
        except (InputError, OSError, ImportError, FloatingPointError) as error:
            shown, code = f"error: {_one_line(error)}", 2
            raised = error
        debug = ctx.params["debug"]
        typer.echo("".join(traceback.format_exception(raised)) if debug else shown, err=True)
        raise typer.Exit(code)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("segment")(segment.segment)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.add_typer(data.app, name="data")
app.command("export")(export.export)
app.command("bench")(bench.bench)
app.command("models")(models.models)
app.command("info")(info.info)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bottomup {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Segment images: every pixel to exactly one entity."""


def main() -> None:
    """Run the command line; exits with 0, 1 (some images failed), 2 (an error) or 130 (Ctrl-C)."""
    app(prog_name="bottomup")
