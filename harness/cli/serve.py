"""``harness serve``: hands its options to the embedded server's own command line."""

import typer

PASS_ALL = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
}


def serve(context: typer.Context) -> int:
    """Run an embedded KServe v2 gRPC server."""
    from harness.embedded.server import main

    return main(context.args)
