"""A second C toolchain, @clang_cc, beside the default one (gcc).

It is its own repository instead of CC=clang, so that changing between the two compilers does not fetch the
default toolchain again and both keep their outputs.
"""

load("@bazel_tools//tools/cpp:lib_cc_configure.bzl", "get_cpu_value")
load("@bazel_tools//tools/cpp:unix_cc_configure.bzl", "configure_unix_toolchain")

def _clang_configure_impl(repository_ctx):
    tools = {"gcc": _find(repository_ctx, "clang-14", "clang")}
    cov = repository_ctx.which("llvm-cov-14")
    if cov:
        tools["llvm-cov"] = str(cov)
    configure_unix_toolchain(repository_ctx, get_cpu_value(repository_ctx), tools)

def _find(repository_ctx, versioned, plain):
    path = repository_ctx.which(versioned) or repository_ctx.which(plain)
    if not path:
        fail("%s is not installed; see tools/packages.txt" % versioned)
    return str(path)

clang_configure = repository_rule(
    implementation = _clang_configure_impl,
    configure = True,
    environ = [
        "BAZEL_CXXOPTS",
        "BAZEL_LINKLIBS",
        "BAZEL_LINKOPTS",
    ],
)
