#!/usr/bin/env python3
"""Images that emu-img writes, read by qemu-img."""

import os

from harness import check, check_each, equal, main, output, parsed, run
from images import MIB, pattern, same_info

PREALLOCATION = ("off", "metadata", "falloc", "full")


def without_size(info):
    """What info says, but how much of the host's disk the image takes: the layout is everybody's own."""
    if isinstance(info, list):
        return [without_size(item) for item in info]
    if not isinstance(info, dict):
        return info
    kept = {key: without_size(value) for key, value in info.items() if key != "actual-size"}
    if kept.get("format") == "file":
        kept.pop("virtual-size", None)
    return kept


def same_as_created_by_qemu_img(options, size="24M"):
    """The same command line gives an image that qemu-img describes in the same words."""
    run("emu-img", "create", "-q", "-f", "qcow2", "-o", options, "ours.qcow2", size)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "theirs.qcow2", size)
    described = []
    for name in ("ours", "theirs"):
        info = without_size(parsed("qemu-img", "info", "--output=json", f"{name}.qcow2"))
        info["filename"] = ""
        info.pop("children", None)
        described.append(info)
    equal(described[0], described[1], f"info of an image created with {options}")


def good(path):
    """qemu-img finds nothing wrong, neither errors nor leaks, and describes it as emu-img does."""
    report = parsed("qemu-img", "check", "--output=json", path)
    equal((report.get("corruptions", 0), report.get("leaks", 0)), (0, 0), f"check of {path}")
    run("emu-img", "check", path)
    same_info(path)


@check_each(*(512 << i for i in range(13)))
def create_and_convert_with_cluster_size(size):
    same_as_created_by_qemu_img(f"cluster_size={size}")
    good("ours.qcow2")
    pattern("disk.raw")
    run("emu-img", "convert", "-O", "qcow2", "-o", f"cluster_size={size}", "disk.raw", "copy.qcow2")
    good("copy.qcow2")
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "disk.raw", "copy.qcow2")
    run("emu-img", "convert", "-f", "qcow2", "-O", "raw", "copy.qcow2", "back.raw")
    run("cmp", "disk.raw", "back.raw")


@check_each(*(1 << i for i in range(7)))
def create_and_convert_with_refcount_bits(bits):
    same_as_created_by_qemu_img(f"refcount_bits={bits}")
    pattern("disk.raw")
    run("emu-img", "convert", "-O", "qcow2", "-o", f"refcount_bits={bits},cluster_size=4k", "disk.raw", "copy.qcow2")
    good("copy.qcow2")
    run("qemu-img", "compare", "disk.raw", "copy.qcow2")


@check_each("0.10", "1.1", "v2", "v3")
def create_with_compatibility(version):
    same_as_created_by_qemu_img(f"compat={version}")
    pattern("disk.raw")
    run("emu-img", "convert", "-O", "qcow2", "-o", f"compat={version}", "disk.raw", "copy.qcow2")
    good("copy.qcow2")
    run("qemu-img", "compare", "disk.raw", "copy.qcow2")


@check_each("lazy_refcounts=on", "extended_l2=on,cluster_size=128k", "compression_type=zstd",
            "lazy_refcounts=on,extended_l2=on,cluster_size=16k", "compression_type=zlib")
def create_and_convert_with_feature(options):
    same_as_created_by_qemu_img(options)
    good("ours.qcow2")
    pattern("disk.raw")
    run("emu-img", "convert", "-O", "qcow2", "-o", options, "disk.raw", "copy.qcow2")
    good("copy.qcow2")
    run("qemu-img", "compare", "disk.raw", "copy.qcow2")


@check_each("zlib", "zstd")
def convert_with_compression(method):
    pattern("disk.raw")
    run("emu-img", "convert", "-c", "-O", "qcow2", "-o", f"compression_type={method}", "disk.raw", "copy.qcow2")
    good("copy.qcow2")
    run("qemu-img", "compare", "disk.raw", "copy.qcow2")
    entries = parsed("qemu-img", "map", "--output=json", "copy.qcow2")
    assert any(entry.get("compressed") for entry in entries) or "compressed" not in entries[0], entries
    assert os.path.getsize("copy.qcow2") < MIB, "nothing was compressed"


def allocation(path):
    """Where data and zeroes are, wherever the file has them."""
    merged = []
    for entry in parsed("qemu-img", "map", "--output=json", path):
        kind = (entry["data"], entry["zero"])
        if merged and merged[-1][0] == kind:
            merged[-1][1] += entry["length"]
        else:
            merged.append([kind, entry["length"]])
    return merged


@check_each(*((mode, size) for mode in PREALLOCATION for size in ("64k", "4k", "2M")))
def create_with_preallocation(mode, size):
    options = f"preallocation={mode},cluster_size={size}"
    same_as_created_by_qemu_img(options)
    good("ours.qcow2")
    if mode in ("falloc", "full"):
        assert os.stat("ours.qcow2").st_blocks * 512 >= 24 * MIB, "less than the disk was allocated"
    equal(allocation("ours.qcow2"), allocation("theirs.qcow2"), "map")


@check_each("off", "falloc", "full")
def create_raw_with_preallocation(mode):
    run("emu-img", "create", "-q", "-f", "raw", "-o", f"preallocation={mode}", "ours.raw", "4M")
    equal(os.path.getsize("ours.raw"), 4 * MIB, "length")
    equal(os.stat("ours.raw").st_blocks * 512 >= 4 * MIB, mode != "off", "allocated")
    same_info("ours.raw")


@check
def a_backing_chain_made_by_emu_img_is_read_by_qemu_img():
    pattern("base.raw")
    run("emu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "mid.qcow2")
    run("emu-img", "create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
    run("qemu-io", "-c", "write -P 9 64k 128k", "-c", "write -z 5M 1M", "mid.qcow2")
    run("qemu-io", "-c", "write -P 10 0 4k", "top.qcow2")
    for name in ("mid.qcow2", "top.qcow2"):
        good(name)
    same_info("top.qcow2", "--backing-chain")
    run("emu-img", "convert", "-O", "qcow2", "top.qcow2", "flat.qcow2")
    good("flat.qcow2")
    run("qemu-img", "compare", "top.qcow2", "flat.qcow2")


@check
def convert_to_an_overlay_keeps_what_the_backing_file_has():
    pattern("base.raw")
    run("emu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "top.qcow2")
    run("qemu-io", "-c", "write -P 10 0 64k", "top.qcow2")
    run("emu-img", "convert", "-O", "qcow2", "-B", "base.raw", "-F", "raw", "top.qcow2", "copy.qcow2")
    good("copy.qcow2")
    run("qemu-img", "compare", "top.qcow2", "copy.qcow2")
    assert os.stat("copy.qcow2").st_blocks < os.stat("base.raw").st_blocks, "the backing file was copied"


@check
def create_prints_what_qemu_img_prints():
    for options in ((), ("-o", "cluster_size=4k,refcount_bits=1"), ("-o", "compat=0.10"),
                    ("-o", "extended_l2=on,cluster_size=32k,compression_type=zstd")):
        printed = [output(name, "create", "-f", "qcow2", *options, "x.qcow2", "1G") for name in ("emu-img", "qemu-img")]
        equal(printed[0], printed[1], f"output of create {options}")
    run("emu-img", "create", "-q", "-f", "raw", "base", "1M")
    printed = [output(name, "create", "-f", "qcow2", "-b", "base", "-F", "raw", "x.qcow2")
               for name in ("emu-img", "qemu-img")]
    equal(printed[0], printed[1], "output of create with a backing file")
    equal(output("emu-img", "create", "r", "1M"), output("qemu-img", "create", "r", "1M"), "output of create raw")


@check_each("1", "511", "513", "0", "1T")
def create_with_size(size):
    for image_format in ("qcow2", "raw"):
        run("emu-img", "create", "-q", "-f", image_format, "ours", size)
        run("qemu-img", "create", "-q", "-f", image_format, "theirs", size)
        sizes = [parsed("qemu-img", "info", "-f", image_format, "--output=json", name)["virtual-size"]
                 for name in ("ours", "theirs")]
        equal(sizes[0], sizes[1], f"virtual size of {image_format}")


if __name__ == "__main__":
    main()
