"""Reads and checks the QMP schema, and names its entities in C. Used by qapi_gen.py.

A schema is a sequence of Python-literal dicts (true and false are spelled as in JSON) with '#'
comments on lines of their own. Its files are included by 'include'; a file is a module.
"""

import ast
import os
import re

BUILTIN = {
    "str": "char *", "int": "int64_t", "number": "double", "bool": "bool", "null": None,
    "any": "struct json *", "size": "uint64_t", "int8": "int8_t", "int16": "int16_t",
    "int32": "int32_t", "int64": "int64_t", "uint8": "uint8_t", "uint16": "uint16_t",
    "uint32": "uint32_t", "uint64": "uint64_t",
}
POINTERS = ("str", "any")
# Words that cannot be a member's name in C: keywords, and macros of gnu17 and libc.
RESERVED = set("""auto break case char const continue default do double else enum extern float for
    goto if inline int long register restrict return short signed sizeof static struct switch typedef
    union unsigned void volatile while asm typeof linux unix errno stdin stdout stderr bool true
    false""".split())
META = {
    "enum": {"data", "features"}, "struct": {"base", "data", "features"},
    "union": {"base", "discriminator", "data", "features"}, "alternate": {"data", "features"},
    "command": {"data", "returns", "features", "allow-oob", "allow-preconfig", "gen"},
    "event": {"data", "features", "rate-limit"},
}


class SchemaError(Exception):
    pass


def need(condition, entity, text):
    if not condition:
        raise SchemaError("%s: %s: %s" % (entity.module, entity.name, text))


def snake(name):
    """BlockdevOptionsQcow2 -> blockdev_options_qcow2; job-pause -> job_pause."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"[-. ]", "_", name).lower()


def ident(name):
    """A member's name in C."""
    name = re.sub(r"[-.]", "_", name)
    return "q_" + name if name in RESERVED or name[0].isdigit() else name


class Member:
    def __init__(self, entity, key, value):
        self.optional = key.startswith("*")
        self.name = key[1:] if self.optional else key
        self.features = []
        if isinstance(value, dict):
            need(set(value) <= {"type", "features"}, entity, "bad member " + key)
            self.features, value = value.get("features", []), value["type"]
        self.type = value


class Entity:
    def __init__(self, module, expr, doc):
        self.meta = next((m for m in META if m in expr), None)
        self.module, self.doc, self.expr = module, doc, expr
        self.name = expr.get(self.meta, "?")
        need(self.meta is not None, self, "unknown expression %r" % expr)
        extra = set(expr) - META[self.meta] - {self.meta}
        need(not extra, self, "unknown key %s" % ", ".join(sorted(extra)))
        self.features = expr.get("features", [])
        self.c = snake(self.name)
        self.own, self.base, self.tag, self.branches, self.values = [], None, None, [], []


class Schema:
    def __init__(self, path):
        self.modules, self.entities, self.types, self.includes = [], [], {}, {}
        self.order = 0
        self.load(path)
        for entity in self.entities:
            self.resolve(entity)
        self.lists = {t[0] for t in self.all_type_uses() if isinstance(t, list)}

    def load(self, path):
        module = os.path.splitext(os.path.basename(path))[0]
        if module in self.includes:
            return module
        self.includes[module] = []
        for expr, doc in parse(path):
            if "include" in expr:
                inner = os.path.join(os.path.dirname(path), expr["include"])
                self.includes[module].append(self.load(inner))
            else:
                self.add(Entity(module, expr, doc))
        self.modules.append(module)
        return module

    def add(self, entity):
        self.entities.append(entity)
        if entity.meta in ("command", "event"):
            need(entity.doc and "@%s:" % entity.name in entity.doc, entity, "has no documentation")
            self.order += 1
            entity.order = self.order
            entity.args = entity.expr.get("data")
            if isinstance(entity.args, dict):
                suffix = "_args" if entity.meta == "command" else "_event"
                name = "q_" + entity.name + suffix
                self.add(Entity(entity.module, {"struct": name, "data": entity.args}, None))
                self.entities[-1].c = entity.c + suffix
                entity.args = name
            return
        need(entity.name not in self.types and entity.name not in BUILTIN, entity, "defined twice")
        self.types[entity.name] = entity

    def resolve(self, entity):
        expr, data = entity.expr, entity.expr.get("data")
        if entity.meta == "enum":
            entity.values = [v if isinstance(v, dict) else {"name": v} for v in data]
            names = [v["name"] for v in entity.values]
            need(len(set(names)) == len(names), entity, "value named twice")
            return
        if entity.meta in ("command", "event"):
            for used in (entity.args, expr.get("returns")):
                need(used is None or self.known(used), entity, "unknown type %r" % used)
            if entity.args:
                need(self.types[entity.args].meta in ("struct", "union"), entity, "data is no object")
            return
        if entity.meta == "union":
            if isinstance(expr["base"], dict):
                entity.own = [Member(entity, k, v) for k, v in expr["base"].items()]
            else:
                entity.base = expr["base"]
            entity.branches = list(data.items())
        else:
            entity.base = expr.get("base")
            entity.own = [Member(entity, k, v) for k, v in data.items()]
        need(entity.base is None or entity.base in self.types, entity, "unknown base")
        for member in entity.own:
            need(self.known(member.type), entity, "unknown type %r" % member.type)

    def known(self, used):
        if isinstance(used, list):
            return len(used) == 1 and self.known(used[0])
        return used in BUILTIN or used in self.types

    def members(self, entity):
        base = self.members(self.types[entity.base]) if entity.base else []
        return base + entity.own

    def check(self):
        """What can only be checked when all is known."""
        for entity in self.entities:
            names = [m.name for m in self.members(entity)] if entity.meta in ("struct", "union") else []
            need(len(set(names)) == len(names), entity, "member named twice")
            if entity.meta != "union":
                continue
            tag = next((m for m in self.members(entity) if m.name == entity.expr["discriminator"]), None)
            need(tag and not tag.optional, entity, "discriminator is no required member of the base")
            enum = self.types.get(tag.type)
            need(enum and enum.meta == "enum", entity, "discriminator is no enum")
            entity.tag = tag
            for case, branch in entity.branches:
                need(case in [v["name"] for v in enum.values], entity, "no such case: " + case)
                need(branch in self.types and self.types[branch].meta == "struct", entity,
                     "branch %s is no struct" % case)
                both = {m.name for m in self.members(self.types[branch])} & set(names)
                need(not both, entity, "branch %s repeats %s" % (case, both))

    def all_type_uses(self):
        for entity in self.entities:
            for member in entity.own:
                yield member.type
            if entity.meta == "command" and "returns" in entity.expr:
                yield entity.expr["returns"]

    def module_entities(self, module, *metas):
        return [e for e in self.entities if e.module == module and e.meta in metas]

    # ---- Names in C ----

    def c_type(self, used):
        """The type of a stored value (of a member, for objects the struct itself)."""
        if isinstance(used, list):
            return "struct qapi_%s_list" % self.c_name(used[0])
        if used in BUILTIN:
            return BUILTIN[used]
        return ("enum" if self.types[used].meta == "enum" else "struct") + " qapi_" + self.types[used].c

    def c_name(self, used):
        return snake(used) if used in BUILTIN else self.types[used].c

    def by_pointer(self, used):
        return not isinstance(used, list) and (
            used in POINTERS or used in self.types and self.types[used].meta != "enum")

    def declare(self, used, name):
        base = self.c_type(used)
        if self.by_pointer(used) and not base.endswith("*"):
            base += " *"
        return base + ("" if base.endswith("*") else " ") + name

    def descriptor(self, used):
        if isinstance(used, list):
            return "qapi_type_%s_list" % self.c_name(used[0])
        return "qapi_type_" + self.c_name(used)


def parse(path):
    """Yields (expression, documentation) for each top-level dict of a file."""
    doc, text, depth, line_no = [], "", 0, 0
    with open(path) as lines:
        for line in lines:
            line_no += 1
            if line.lstrip().startswith("#"):
                doc.append(line.strip()[1:].strip())
                continue
            if not line.strip():
                doc = doc if text else []
                continue
            text += line
            depth += sum(map(line.count, "{[")) - sum(map(line.count, "}]"))
            if depth == 0:
                literal = re.sub(r"\btrue\b", "True", re.sub(r"\bfalse\b", "False", text))
                try:
                    yield ast.literal_eval(literal.strip()), "\n".join(doc)
                except (SyntaxError, ValueError) as error:
                    raise SchemaError("%s:%d: %s" % (path, line_no, error))
                doc, text = [], ""
    if text:
        raise SchemaError("%s: unfinished expression at the end" % path)
