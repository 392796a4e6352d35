"""The rules of the style guide that a program can check. Run by tools/dev tidy; tools/tidy_test.py tests each rule.

A rule is a function from a File to messages, listed in RULES. Most look at `code`, which is the text with comments
and string contents blanked, so that lines and columns stay the same.
"""

import os
import re
import sys

import sources

RATCHET = "tools/tidy_ratchet.txt"
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
COLUMNS_MAX = 120  # clang-format keeps code within 100; this is for comments, which it leaves alone.

# Files whose mutable globals are what they are for: the log and trace sinks, and the counter of failing allocations.
GLOBALS_ALLOWED = {"emu/base/log.c", "emu/base/trace.c", "emu/base/alloc.c"}


def blanked(text):
    """The text with comments and the insides of strings and characters replaced by spaces."""
    token = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        found = match.group(0)
        if found[0] == "/":
            return re.sub(r"[^\n]", " ", found)
        return found[0] + " " * (len(found) - 2) + found[-1]

    return token.sub(blank, text)


def without_directives(code):
    """The code with preprocessor lines, continued ones as well, blanked."""
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda match: re.sub(r"[^\n]", " ", match.group(0)), code,
                  flags=re.M)


class File:
    """One source file, cut up once for all rules."""

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.is_c = path.endswith((".c", ".h"))
        self.is_test = sources.is_test(path)
        self.code = blanked(text) if self.is_c else ""
        self.bare = without_directives(self.code)
        self.functions = list(self._functions()) if self.is_c else []

    def line_of(self, at):
        return self.text.count("\n", 0, at) + 1

    def find(self, pattern, reason, where=None):
        """A message for every match, in the code unless told."""
        for match in re.finditer(pattern, self.code if where is None else where, re.M):
            yield self.line_of(match.start()), reason.format(*match.groups())

    def _functions(self):
        """(name, start, end) of every function body; an offset of its braces each."""
        depth, start, statement = 0, None, 0
        for match in re.finditer(r"[{};]", self.bare):
            at = match.start()
            if match.group(0) == "{":
                if depth == 0:
                    head = self.bare[statement:at].rstrip()
                    start = at if head.endswith(")") and "=" not in head else None
                    name = re.search(r"(\w+)\s*\(", re.sub(r"__attribute__\s*\(\(.*?\)\)|^\s*[A-Z_]+\(\w+\)", "", head))
                depth += 1
                continue
            if match.group(0) == "}":
                depth -= 1
                if depth == 0 and start is not None:
                    yield name.group(1) if name else "?", start, at
            if depth == 0:
                statement = at + 1


def in_product(file):
    return file.is_c and file.path.startswith("emu/") and not file.is_test


def rule_time(file):
    if not file.is_c or file.path.startswith(("emu/reactor/", "tests/harness/", "tools/")):
        return
    yield from file.find(
        r"(?<![\w.>])(time|sleep|usleep|nanosleep|clock_gettime|clock_nanosleep|gettimeofday)\s*\(",
        "{0}() is called by emu/reactor only; take the time as a parameter or from reactor_now()")


def rule_constructor(file):
    if file.is_c:
        yield from file.find(r"\b__?(?:con|de)structor(?:__)?\b|\(\(\s*(?:con|de)structor\b",
                             "constructors vanish from static links; list it in a table")


def rule_todo(file):
    # Spelled apart, so that this file keeps its own rule.
    yield from file.find(r"\bTO" r"DO\b(?!\(#\d+\))", "this needs an issue number, as in (#12)", file.text)
    yield from file.find(r"\b(FIX" r"ME|XX" r"X)\b", "{0} does not land; fix it or file an issue", file.text)


def rule_sizeof_loop(file):
    if file.is_c:
        yield from file.find(r"\bfor\s*\([^\n]*<=?\s*sizeof\b", "a loop over an array ends at ARRAY_LEN()")
        if file.path != "emu/base/attrs.h" and not file.path.startswith("tests/harness/"):
            where = without_directives(file.code)
            yield from file.find(r"\bsizeof\b[^;,\n]*/\s*sizeof\b", "ARRAY_LEN() counts elements", where)


def rule_file_length(file):
    lines = file.text.count("\n")
    if not in_product(file) or lines <= FILE_LINES_MAX:
        return
    comment = re.search(r"/\*.*?\*/", file.text, re.S)
    if not comment or not re.search(r"\blong because\b", re.sub(r"[\s*]+", " ", comment.group(0))):
        yield 1, f"{lines} lines; over {FILE_LINES_MAX} the first comment says that it is \"long because ...\""


def rule_c_include(file):
    if file.is_c:
        yield from file.find(r'^\s*#\s*include\s*["<][^">]*\.(c|inc)[">]', "a .{0} file is not included", file.text)


def guard_of(path):
    name = path[len("emu/"):] if path.startswith("emu/") else path
    return "EMU_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def rule_guard(file):
    if not file.path.endswith(".h"):
        return
    guard = guard_of(file.path)
    directives = re.findall(r"^\s*#\s*(\w+)[ \t]*(\w*)", file.code, re.M)
    if directives[:2] != [("ifndef", guard), ("define", guard)] or directives[-1][0] != "endif":
        yield 1, f"the include guard is {guard}, around everything"


def rule_allocation(file):
    if in_product(file) and not file.path.startswith("emu/base/"):
        yield from file.find(
            r"(?<![\w.>])(malloc|calloc|realloc|reallocarray|strdup|strndup|v?asprintf|aligned_alloc|posix_memalign)\s*\(",
            "{0}() is used by emu/base only; see emu/base/alloc.h and str.h")


def rule_unsafe(file):
    if file.is_c and not file.path.startswith("tools/"):
        yield from file.find(
            r"(?<![\w.>])(strcpy|strcat|stpcpy|sprintf|vsprintf|gets|atoi|atol|atoll|atof|strtok|alloca|rand|srand)\s*\(",
            "{0}() is banned: it cannot bound, report or repeat")


def is_const(declaration):
    """Whether nothing that the declared name stands for can change."""
    declarator = declaration.split("=")[0]
    pointer = re.search(r"\(\s*\*([^)]*)\)", declarator)
    if pointer:
        return "const" in pointer.group(1)
    return "const" in (declarator.rpartition("*")[2] if "*" in declarator else declarator).split()


def is_variable(declaration):
    """Whether a statement outside functions defines a variable, not a type or a function."""
    declarator = declaration.split("=")[0]
    if re.match(r"(typedef|extern|_?[sS]tatic_assert|_Static_assert)\b", declarator):
        return False
    if "(" in declarator:
        # A pointer to a function, unlike a function, has its name behind the first parenthesis.
        return bool(re.search(r"^[^(]*\(\s*\*", declarator))
    names = re.findall(r"\w+", re.sub(r"\[[^\]]*\]|\{.*?\}", " ", declarator))
    return len(names) > (2 if re.match(r"(static\s+)?(const\s+)?(struct|enum|union)\b", declarator) else 1)


def statements(file):
    """(offset, text) of the statements outside functions, with function bodies and braces' contents blanked."""
    text = file.bare
    for _name, start, end in file.functions:
        text = text[:start] + ";" + re.sub(r"[^\n]", " ", text[start + 1:end]) + ";" + text[end + 1:]
    while True:  # Initialisers and struct bodies, innermost first.
        reduced = re.sub(r"\{[^{}]*\}", lambda match: re.sub(r"[^\n]", " ", match.group(0)), text)
        if reduced == text:
            break
        text = reduced
    at = 0
    for part in text.split(";"):
        yield at + len(part) - len(part.lstrip()), " ".join(part.split())
        at += len(part) + 1


def rule_globals(file):
    if not in_product(file) or file.path in GLOBALS_ALLOWED:
        return
    reason = "mutable state hangs off a struct that is passed in, not off a global"
    for at, statement in statements(file):
        if statement and is_variable(statement) and not is_const(statement):
            yield file.line_of(at), reason
    for _name, start, end in file.functions:
        for match in re.finditer(r"^\s*static\b([^;{=]*)", file.bare[start:end], re.M):
            if not is_const(match.group(1)):
                yield file.line_of(start + match.start(1)), reason


def rule_conditional(file):
    if in_product(file):
        for _name, start, end in file.functions:
            for match in re.finditer(r"^\s*#\s*if", file.code[start:end], re.M):
                yield file.line_of(start + match.end()), "no #if inside a function; choose a file in BUILD"


def rule_waiver(file):
    if file.is_c:
        yield from file.find(r"\b(NO" r"LINT|clang-format o" r"ff)\b", "{0}: rules are not waived in line", file.text)
        yield from file.find(r"^\s*#\s*pragma\s+(GCC|clang)\s+diagnostic", "warnings are not waived in line")


def rule_typedef(file):
    if file.is_c and not file.is_test:
        yield from file.find(r"^\s*typedef\b[^;]*\b(\w+_t)\s*;", "{0}: use the struct or enum tag")


def rule_columns(file):
    if file.is_c:
        for number, line in enumerate(file.text.splitlines(), 1):
            if len(line) > COLUMNS_MAX:
                yield number, f"{len(line)} columns; the limit is 100, and {COLUMNS_MAX} for a comment"


def rule_paths(file):
    yield from file.find(r"(?<![\w.\-/:])/(work|ho" r"me/\w+|ro" r"ot)/", "a path of one machine: /{0}/", file.text)


RULES = [rule_time, rule_constructor, rule_todo, rule_sizeof_loop, rule_file_length, rule_c_include, rule_guard,
         rule_allocation, rule_unsafe, rule_globals, rule_conditional, rule_waiver, rule_typedef, rule_columns,
         rule_paths]


def check(path, text):
    """(line, message) of everything wrong with one file, long functions apart."""
    file = File(path, text)
    found = []
    for rule in RULES:
        found += rule(file)
    return sorted(found)


def long_functions(path, text):
    """{(path, function): lines} of the functions over the limit."""
    file = File(path, text)
    if not in_product(file):
        return {}
    lengths = {(path, name): text.count("\n", start, end) + 1 for name, start, end in file.functions}
    return {key: lines for key, lines in lengths.items() if lines > FUNCTION_LINES_MAX}


def read_ratchet(text):
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {(path, name): int(lines) for path, name, lines in rows}


def check_ratchet(allowed, actual):
    """Messages about functions that are over the limit, over their entry, or below it by now."""
    for (path, name), lines in sorted(actual.items()):
        limit = allowed.get((path, name), FUNCTION_LINES_MAX)
        if lines > limit:
            yield f"{path}: {name}() has {lines} lines, the limit is {limit}"
    for (path, name), limit in sorted(allowed.items()):
        if actual.get((path, name), 0) < limit:
            yield f"{RATCHET}: {name}() of {path} has become shorter; run tools/dev tidy --tighten"


def tighten(text, allowed, actual):
    """The ratchet file with its entries lowered or dropped, never raised or added."""
    rows = []
    for line in text.splitlines():
        fields = line.split()
        key = tuple(fields[:2])
        if key not in allowed:
            rows.append(line)
        elif key in actual:
            rows.append(f"{fields[0]} {fields[1]} {min(actual[key], allowed[key])}")
    return "\n".join(rows) + "\n"


def run(args):
    messages, actual = [], {}
    for path in sources.files(".c", ".h", ".py", ".sh", ".bzl", "BUILD", ".md", ".json", ".txt", ".tbl", ".cc"):
        if not os.path.isfile(path):
            continue
        text = sources.read(path)
        # Recorded answers of peers and seeds are data, not our text.
        if path.startswith(("tests/fuzz/", "tests/iotests/expected/")) and not path.endswith("BUILD"):
            continue
        messages += [f"{path}:{line}: {message}" for line, message in check(path, text)]
        actual.update(long_functions(path, text))
    ratchet = sources.read(RATCHET)
    allowed = read_ratchet(ratchet)
    if args.tighten:
        with open(RATCHET, "w", encoding="utf-8") as file:
            file.write(tighten(ratchet, allowed, actual))
        allowed = read_ratchet(sources.read(RATCHET))
    messages += check_ratchet(allowed, actual)
    for message in messages:
        print(message)
    if messages:
        print(f"{len(messages)} rules broken", file=sys.stderr)
    return 1 if messages else 0
