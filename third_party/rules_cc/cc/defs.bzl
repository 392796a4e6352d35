"""Stands in for rules_cc, which Debian does not package: Bazel 4's native rules under the names rules_cc exports."""

cc_library = native.cc_library
cc_binary = native.cc_binary
cc_test = native.cc_test
cc_import = native.cc_import
cc_proto_library = native.cc_proto_library
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
cc_toolchain_alias = native.cc_toolchain_alias
fdo_prefetch_hints = native.fdo_prefetch_hints
fdo_profile = native.fdo_profile
objc_library = native.objc_library

def _nothing_impl(_ctx):
    return []

# Bazel's embedded packages load these two and never use their values in a Linux build.
cc_flags_supplier = rule(implementation = _nothing_impl)
compiler_flag = rule(implementation = _nothing_impl)
