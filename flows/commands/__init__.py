"""What the subcommands of ``windrow`` do; ``flows.cli`` hangs them under the command. ``output`` is what they print alike."""
