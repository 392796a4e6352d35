#!/usr/bin/env python3
"""Makes C from the QMP schema.

    qapi_gen.py types    SCHEMA.json OUT_DIR    qapi_<module>.{h,c}: C types and their descriptors
    qapi_gen.py commands SCHEMA.json OUT_DIR    qmp_<module>.{h,c}: commands, replies and events

What the functions at run time need is in descriptors (emu/qmp/schema/qapi.h), so this file holds
layout only; qapi_schema.py reads the schema.
"""

import os
import re
import sys

from qapi_schema import META, Schema, SchemaError, ident, snake

def doc_comment(entity):
    """The first line of the documentation, as a C comment."""
    found = re.search(r"@%s: *(.*)" % re.escape(entity.name), entity.doc or "")
    return "/* %s */\n" % found.group(1) if found else ""


def quote(name):
    return '"%s"' % name


# ---- Types ----

def gen_struct(schema, entity):
    out = doc_comment(entity) + "struct qapi_%s {\n" % entity.c
    if entity.meta == "alternate":
        kinds = ", ".join("QAPI_%s_%s" % (entity.c.upper(), snake(m.name).upper()) for m in entity.own)
        out = "enum qapi_%s_kind { %s };\n" % (entity.c, kinds) + out
        out += "    enum qapi_%s_kind kind;\n    union {\n" % entity.c
        for member in entity.own:
            if member.type != "null":
                out += "        %s;\n" % schema.declare(member.type, ident(member.name))
        return out + "    } u;\n};\n"
    for member in schema.members(entity):
        name = ident(member.name)
        if member.optional and not schema.by_pointer(member.type):
            out += "    OPT(%s) %s;\n" % (schema.c_type(member.type), name)
        else:
            note = " /* or NULL */" if member.optional else ""
            out += "    %s;%s\n" % (schema.declare(member.type, name), note)
    if entity.branches:
        out += "    union { /* by %s */\n" % ident(entity.tag.name)
        for case, branch in entity.branches:
            out += "        struct qapi_%s %s;\n" % (schema.types[branch].c, ident(case))
        out += "    } u;\n"
    return out + "};\n"


def struct_order(schema, module):
    """Structs such that the branches of a union come before it."""
    done, out = set(), []

    def visit(entity):
        if entity.name in done or entity.module != module:
            return
        done.add(entity.name)
        for _, branch in entity.branches:
            visit(schema.types[branch])
        out.append(entity)

    for entity in schema.module_entities(module, "struct", "union", "alternate"):
        visit(entity)
    return out


def gen_types_h(schema, module):
    guard = "EMU_QMP_SCHEMA_QAPI_%s_H" % module.upper()
    out = "/* Generated from %s.json. */\n#ifndef %s\n#define %s\n\n" % (module, guard, guard)
    out += '#include "emu/qmp/schema/qapi.h"\n'
    out += "".join('#include "emu/qmp/schema/qapi_%s.h"\n' % m for m in schema.includes[module])
    for entity in schema.module_entities(module, "enum"):
        prefix = "QAPI_" + entity.c.upper()
        names = [prefix + "_" + snake(v["name"]).upper() for v in entity.values]
        out += "\n%senum qapi_%s {\n    %s,\n};\n" % (doc_comment(entity), entity.c, ",\n    ".join(names))
        out += "enum { %s_COUNT = %d };\n" % (prefix, len(names))
        out += ("extern const struct qapi_type qapi_type_%s;\n"
                "/* Name on the wire. */\n"
                "static inline const char *qapi_%s_name(enum qapi_%s value)\n{\n"
                "    return qapi_enum_name(&qapi_type_%s, (int)value);\n}\n") % ((entity.c,) * 4)
    structs = struct_order(schema, module)
    out += "\n" + "".join("struct qapi_%s;\n" % e.c for e in structs)
    for name in sorted(n for n in schema.lists if n in schema.types and schema.types[n].module == module):
        c = schema.types[name].c
        item = schema.declare(name, "*items").replace(" **", " *")
        out += "\nstruct qapi_%s_list {\n    %s;\n    size_t len;\n};\n" % (c, item)
        out += "extern const struct qapi_type qapi_type_%s_list;\n" % c
    for entity in structs:
        out += "\n" + gen_struct(schema, entity)
        out += "extern const struct qapi_type qapi_type_%s;\n" % entity.c
        out += gen_wrappers(entity.c)
        if entity.name in schema.lists:
            out += ("/* Appends a zeroed element and returns it; valid until the next one. */\n"
                    "static inline struct qapi_%s *qapi_%s_list_add(struct qapi_%s_list *list)\n{\n"
                    "    list->items = qapi_list_grow(list->items, &list->len, sizeof(*list->items));\n"
                    "    return &list->items[list->len - 1];\n}\n") % ((entity.c,) * 3)
            out += ("static inline void qapi_%s_list_fini(struct qapi_%s_list *list)\n{\n"
                    "    qapi_fini(&qapi_type_%s_list, list);\n}\n"
                    "CLEANUP_FINI(qapi_%s_list_fini, struct qapi_%s_list);\n") % ((entity.c,) * 5)
    return out + "\n#endif\n"


def gen_wrappers(c):
    return """MUST_USE static inline struct err *qapi_decode_{0}(const struct json *in, enum qapi_input input,
                                                   struct qapi_{0} **out)
{{
    void *value = NULL;
    struct err *err = qapi_decode(&qapi_type_{0}, in, input, &value);

    *out = (struct qapi_{0} *)value;
    return err;
}}
MUST_USE static inline struct json *qapi_encode_{0}(const struct qapi_{0} *value)
{{
    return qapi_encode(&qapi_type_{0}, value);
}}
static inline void qapi_free_{0}(struct qapi_{0} *value)
{{
    qapi_free(&qapi_type_{0}, value);
}}
CLEANUP_FREE(qapi_free_{0}, struct qapi_{0});
""".format(c)


def gen_features(c, features):
    """Returns (definition, reference)."""
    if not features:
        return "", "NULL"
    name = "features_" + c
    return "static const char *const %s[] = {%s, NULL};\n" % (name, ", ".join(map(quote, features))), name


def gen_descriptor(schema, entity):
    c, out, fields = entity.c, "", []
    definition, reference = gen_features(c, entity.features)
    out += definition
    if reference != "NULL":
        fields.append(".features = " + reference)
    if entity.meta == "enum":
        rows = ""
        for value in entity.values:
            definition, reference = gen_features(c + "_" + snake(value["name"]), value.get("features"))
            out += definition
            rows += "    {%s, %s},\n" % (quote(value["name"]), reference)
        out += "static const struct qapi_value values_%s[] = {\n%s};\n" % (c, rows)
        fields += [".values = values_" + c, ".count = %d" % len(entity.values)]
        kind, size = "QAPI_ENUM", "sizeof(enum qapi_%s)" % c
    else:
        members, rows = schema.members(entity), ""
        for member in members:
            definition, reference = gen_features(c + "_" + snake(member.name), member.features)
            out += definition
            rows += "    " + gen_member(schema, entity, member, reference) + ",\n"
        if members:
            out += "static const struct qapi_member members_%s[] = {\n%s};\n" % (c, rows)
            fields += [".members = members_" + c, ".count = %d" % len(members)]
        if entity.branches:
            rows = "".join("    {QAPI_%s_%s, &qapi_type_%s},\n" % (
                schema.types[entity.tag.type].c.upper(), snake(case).upper(), schema.types[branch].c)
                for case, branch in entity.branches)
            out += "static const struct qapi_branch branches_%s[] = {\n%s    {0, NULL},\n};\n" % (c, rows)
            fields += [".tag = &members_%s[%d]" % (c, members.index(entity.tag)), ".branches = branches_" + c]
        if entity.branches or entity.meta == "alternate":
            fields.append(".union_offset = offsetof(struct qapi_%s, u)" % c)
        kind = "QAPI_ALTERNATE" if entity.meta == "alternate" else "QAPI_OBJECT"
        size = "sizeof(struct qapi_%s)" % c
    return out + gen_type(c, entity.name, kind, size, fields)


def gen_type(c, name, kind, size, fields):
    fields = ['.name = "%s"' % name, ".kind = " + kind, ".size = " + size] + fields
    return "const struct qapi_type qapi_type_%s = {\n    %s,\n};\n" % (c, ",\n    ".join(fields))


def gen_member(schema, entity, member, features):
    struct, name = "struct qapi_" + entity.c, ident(member.name)
    row = '{.name = "%s", .type = &%s' % (member.name, schema.descriptor(member.type))
    if entity.meta == "alternate":
        row += ", .offset = offsetof(%s, u)" % struct
    elif not member.optional:
        row += ", .offset = offsetof(%s, %s)" % (struct, name)
    elif schema.by_pointer(member.type):
        row += ", .offset = offsetof(%s, %s), .presence = QAPI_OPTIONAL_PTR" % (struct, name)
    else:
        row += (",\n     .offset = offsetof(%s, %s.value), .set_offset = offsetof(%s, %s.set),\n"
                "     .presence = QAPI_OPTIONAL") % (struct, name, struct, name)
    return row + (", .features = %s}" % features if features != "NULL" else "}")


def gen_types_c(schema, module):
    out = '/* Generated from %s.json. */\n#include "emu/qmp/schema/qapi_%s.h"\n' % (module, module)
    for entity in schema.module_entities(module, "enum", "struct", "union", "alternate"):
        out += "\n" + gen_descriptor(schema, entity)
        if entity.name in schema.lists:
            out += gen_type(entity.c + "_list", entity.name + "List", "QAPI_LIST",
                            "sizeof(struct qapi_%s_list)" % entity.c,
                            [".element = &qapi_type_" + entity.c])
    return out


# ---- Commands and events ----

def args_struct(schema, entity):
    """What a handler gets; with 'gen': false the object as it came, which may have more members."""
    return "json" if entity.expr.get("gen") is False else "qapi_" + schema.types[entity.args].c


def gen_commands_h(schema, module):
    guard = "EMU_QMP_QMP_%s_H" % module.upper()
    out = "/* Generated from %s.json. */\n#ifndef %s\n#define %s\n\n" % (module, guard, guard)
    out += '#include "emu/qmp/call.h"\n#include "emu/qmp/events.h"\n#include "emu/qmp/spec.h"\n'
    out += '#include "emu/qmp/schema/qapi_%s.h"\n' % module
    for entity in schema.module_entities(module, "command"):
        args = ", const struct %s *args" % args_struct(schema, entity) if entity.args else ""
        out += "\n%stypedef void qmp_%s_fn(struct qmp_call *call%s);\n" % (doc_comment(entity), entity.c, args)
        out += "extern const struct qmp_command_spec qmp_spec_%s;\n" % entity.c
        returns = entity.expr.get("returns")
        if returns is None:
            continue
        ret_type = "const char *" if returns == "str" else "const %s *" % schema.c_type(returns)
        value = "&ret" if returns == "str" else "ret"
        out += ("/* Replies with ret, which stays the caller's. */\n"
                "static inline void qmp_reply_%s(struct qmp_call *call, %sret)\n{\n"
                "    qmp_reply_json(call, qapi_encode(&%s, %s));\n}\n"
                ) % (entity.c, ret_type, schema.descriptor(returns), value)
    for entity in schema.module_entities(module, "event"):
        data = ", const struct qapi_%s *data" % schema.types[entity.args].c if entity.args else ""
        out += "\n%sextern const struct qmp_event_spec qmp_event_%s;\n" % (doc_comment(entity), entity.c)
        out += ("static inline void qapi_event_%s(struct qmp_events *events%s)\n{\n"
                "    qmp_events_emit(events, &qmp_event_%s, %s);\n}\n"
                ) % (entity.c, data, entity.c, "data" if data else "NULL")
    return out + "\n#endif\n"


def gen_commands_c(schema, module):
    out = '/* Generated from %s.json. */\n#include "emu/qmp/qmp_%s.h"\n' % (module, module)
    for entity in schema.module_entities(module, "command"):
        args = schema.types[entity.args].c if entity.args else None
        returns = entity.expr.get("returns")
        flags = [f for key, f in (("allow-oob", "QMP_OOB"), ("allow-preconfig", "QMP_PRECONFIG"))
                 if entity.expr.get(key)]
        if entity.expr.get("gen") is False:
            flags.append("QMP_RAW_ARGS")
        definition, features = gen_features(entity.c, entity.features)
        out += "\n%sstatic void invoke_%s(qmp_any_fn *fn, struct qmp_call *call, const void *args)\n{\n" % (
            definition, entity.c)
        out += "    ((qmp_%s_fn *)fn)(call%s);\n" % (entity.c, ", args" if args else "")
        out += ("" if args else "    (void)args;\n") + "}\n"
        out += ("const struct qmp_command_spec qmp_spec_%s = {\n"
                '    .name = "%s",\n    .order = %d,\n    .args = &qapi_type_%s,\n    .ret = %s,\n'
                "    .flags = %s,\n    .features = %s,\n    .invoke = invoke_%s,\n};\n") % (
            entity.c, entity.name, entity.order, args or "empty",
            "&" + schema.descriptor(returns) if returns else "NULL", " | ".join(flags) or "0",
            features, entity.c)
    for entity in schema.module_entities(module, "event"):
        definition, features = gen_features(entity.c, entity.features)
        limit, keys = entity.expr.get("rate-limit"), "NULL"
        if limit is not None:
            keys = "keys_" + entity.c
            definition += "static const char *const %s[] = {%s};\n" % (
                keys, ", ".join([quote(k) for k in limit] + ["NULL"]))
        out += ('\n%sconst struct qmp_event_spec qmp_event_%s = {\n    .name = "%s",\n'
                "    .order = %d,\n    .data = &qapi_type_%s,\n    .features = %s,\n"
                "    .rate_keys = %s,\n};\n") % (
            definition, entity.c, entity.name, entity.order,
            schema.types[entity.args].c if entity.args else "empty", features, keys)
    return out


# What a module must have for its files to be made, and the files.
OUTPUTS = {
    "types": (tuple(META), {"qapi_%s.h": gen_types_h, "qapi_%s.c": gen_types_c}),
    "commands": (("command", "event"), {"qmp_%s.h": gen_commands_h, "qmp_%s.c": gen_commands_c}),
}


def main(argv):
    if len(argv) != 4 or argv[1] not in OUTPUTS:
        sys.stderr.write(__doc__)
        return 2
    try:
        schema = Schema(argv[2])
        schema.check()
    except SchemaError as error:
        sys.stderr.write("%s\n" % error)
        return 1
    metas, files = OUTPUTS[argv[1]]
    for module in schema.modules:
        for pattern, generate in files.items() if schema.module_entities(module, *metas) else ():
            with open(os.path.join(argv[3], pattern % module), "w") as out:
                out.write(generate(schema, module))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
