"""`dal completion`: the shell's own script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets your shell complete `dal`.

    \b
    Examples:
      bash: eval "$(dal completion bash)" in ~/.bashrc
      zsh:  eval "$(dal completion zsh)" in ~/.zshrc
      fish: dal completion fish > ~/.config/fish/completions/dal.fish

    Exit codes: 0, 2 for a wrong shell.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  # the choice above
    click.echo(kind(context.find_root().command, {}, "dal", "_DAL_COMPLETE").source())
