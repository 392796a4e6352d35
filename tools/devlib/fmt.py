"""Not there yet."""


def run(args):
    raise SystemExit("tools/dev: not there yet")
