"""Visibility groups: //:in_X is package X itself, //:uses_X the packages that may depend on it.

`tools/dev layers` compares this table with tools/layers.txt, which explains it.
"""

LAYERS = {
    "base": [],
    "reactor": [],
    "qmp/schema": [],
    "migration/wire": [],
    "yank": ["qmp/schema"],
    "object": ["reactor", "qmp/schema"],
    "storage": ["reactor", "qmp/schema"],
    "jobs": ["reactor", "qmp/schema"],
    "machine/memory": ["migration/wire"],
    "crypto": ["object", "reactor", "qmp/schema"],
    "cpu": ["machine/memory", "migration/wire"],
    "machine/bus": ["machine/memory", "reactor", "qmp/schema", "migration/wire"],
    "storage/throttle": ["object", "reactor"],
    "storage/drivers": ["storage", "storage/throttle", "crypto", "object", "reactor", "qmp/schema", "yank"],
    "storage/export": ["storage", "crypto", "object", "reactor", "qmp/schema", "yank"],
    "jobs/block": ["jobs", "storage", "reactor", "qmp/schema"],
    "chardev": ["crypto", "object", "reactor", "qmp/schema", "yank"],
    "machine/devices": ["machine/bus", "machine/memory", "storage", "object", "chardev", "reactor", "qmp/schema", "migration/wire"],
    "qmp": ["chardev", "reactor", "qmp/schema"],
    "machine": ["cpu", "machine/*", "object", "reactor", "qmp/schema"],
    "migration": ["machine", "machine/bus", "machine/memory", "storage", "jobs", "yank", "crypto", "object", "reactor", "qmp/schema", "migration/wire"],
    "qmp/handlers": ["*"],
    "cmd": ["*"],
}

def _patterns(package):
    """A package with its subfolders, without those that are packages of their own."""
    inner = ["-//emu/%s/..." % other for other in LAYERS if other.startswith(package + "/")]
    return ["//emu/%s/..." % package] + inner

def _group(prefix, package):
    return prefix + package.replace("/", "_")

def _may_use(user, package):
    if user == package or package == "base":
        return True
    order = LAYERS.keys()
    for allowed in LAYERS[user]:
        if allowed == package:
            return True
        if allowed == "*" and order.index(package) < order.index(user):
            return True
        if allowed.endswith("/*") and package.startswith(allowed[:-1]):
            return True
    return False

def layer_groups():
    for package in LAYERS:
        native.package_group(
            name = _group("in_", package),
            packages = _patterns(package),
        )
        native.package_group(
            name = _group("uses_", package),
            includes = ["//:tests"] + [_group("//:in_", user) for user in LAYERS if _may_use(user, package)],
        )
