"""The rules every BUILD file of emu uses: one set of compiler flags, static linking, and tests in C."""

# Assertions check our own invariants and stay on in release, so NDEBUG of Bazel's opt mode is taken back.
_COPTS = [
    "-std=gnu17",
    "-D_GNU_SOURCE",
    "-UNDEBUG",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wimplicit-fallthrough",
    "-Wmissing-prototypes",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wvla",
    "-Wno-unused-parameter",
    "-fno-strict-aliasing",
    "-fstack-protector-strong",
]

# A switch over a state names every state, also when it has a default.
_STATE_COPTS = ["-Wswitch-enum"]

def _copts(copts, state_code):
    return _COPTS + (_STATE_COPTS if state_code else []) + copts

def emu_library(
        name,
        srcs = [],
        hdrs = [],
        deps = [],
        visibility = None,
        testonly = False,
        state_code = False,
        copts = [],
        **kwargs):
    """A C library. Public headers go in hdrs, private ones in srcs.

    Args:
      name: target name.
      srcs: .c files and private headers.
      hdrs: headers that dependents may include.
      deps: every library whose header is included here, no others.
      visibility: as narrow as it builds; defaults to the package's.
      testonly: usable by tests only.
      state_code: warn about a switch over an enum that misses a case, also when it has a default.
      copts: flags of this target only.
      **kwargs: other attributes of cc_library (linkopts, textual_hdrs, tags).
    """
    native.cc_library(
        name = name,
        srcs = srcs,
        hdrs = hdrs,
        deps = deps,
        visibility = visibility,
        testonly = testonly,
        copts = _copts(copts, state_code),
        linkstatic = True,
        **kwargs
    )

def emu_binary(name, srcs = [], deps = [], visibility = None, state_code = False, copts = [], **kwargs):
    """A C program, linked statically against our own libraries."""
    native.cc_binary(
        name = name,
        srcs = srcs,
        deps = deps,
        visibility = visibility,
        copts = _copts(copts, state_code),
        **kwargs
    )

def emu_test(name, srcs = [], deps = [], data = [], size = "small", state_code = False, copts = [], **kwargs):
    """A test program in C on tests/harness; exactly one of the srcs holds the TEST_LIST.

    Args:
      name: target name, by habit that of the source file.
      srcs: the test file, and helpers.
      deps: libraries under test. The harness is added.
      data: files and programs the test opens, found at their workspace path relative to the working directory.
      size: small (60 s), medium (300 s) or large (900 s).
      state_code: as for emu_library.
      copts: flags of this target only.
      **kwargs: other attributes of cc_test (shard_count, args, env, linkopts). tags = ["nosan"] keeps it
        out of sanitizer runs.
    """
    native.cc_test(
        name = name,
        srcs = srcs,
        deps = deps + ["//tests/harness"],
        data = data,
        size = size,
        copts = _copts(copts, state_code),
        linkstatic = True,
        **kwargs
    )

def emu_fuzz(name, srcs = [], deps = [], corpus = [], size = "small", copts = [], **kwargs):
    """A fuzzer: LLVMFuzzerTestOneInput, declared in tests/harness/fuzz.h.

    With --config=fuzz it links libFuzzer. Otherwise it is a plain test that runs every file of the corpus and then
    seeded mutations of them for about two seconds.

    Args:
      name: target name; `tools/dev fuzz NAME` finds it.
      srcs: the fuzzer.
      deps: libraries under test.
      corpus: labels of seed files or filegroups of them, by habit "//tests/fuzz:NAME".
      size: as for emu_test.
      copts: flags of this target only.
      **kwargs: other attributes of cc_test.
    """
    native.cc_test(
        name = name,
        srcs = srcs,
        deps = deps + ["//tests/harness:fuzz"] + select({
            "//tools/bazel:fuzzing": [],
            "//conditions:default": ["//tests/harness:fuzz_replay"],
        }),
        args = ["$(rootpaths %s)" % label for label in corpus],
        data = corpus,
        size = size,
        copts = _copts(copts, False),
        linkopts = select({
            "//tools/bazel:fuzzing": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        linkstatic = True,
        tags = kwargs.pop("tags", []) + ["fuzz"],
        **kwargs
    )
