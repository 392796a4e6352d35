"""Libraries of the host, one repository each. Targets name them through the aliases in //third_party."""

_LIBRARIES = ["bzip2", "zlib", "zstd", "gnutls", "nettle", "liburing", "libfuse3", "protobuf_c", "gtest"]

def system_libraries():
    for name in _LIBRARIES:
        native.new_local_repository(
            name = "system_" + name,
            build_file = "@emu//third_party:%s.BUILD" % name,
            path = "/usr",
        )
