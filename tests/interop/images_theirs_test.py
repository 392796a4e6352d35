#!/usr/bin/env python3
"""Images that qemu-img writes, read by emu-img: the content, and the same words about it."""

import re

from harness import check, check_each, equal, main, output, parsed, run, skip
from images import blocks, same_info

PREALLOCATION = ("off", "metadata", "falloc", "full")


def needs(name, version):
    """Skips with an older peer, whose output had another form."""
    found = re.search(r"version (\d+)", output(name, "--version"))
    if int(found.group(1)) < version:
        skip(f"{name} is version {found.group(1)}, this needs {version}")


def same_output(command, *arguments):
    """The same text and exit status from both programs."""
    theirs = run("qemu-img", command, *arguments, expect=None)
    mine = run("emu-img", command, *arguments, expect=None)
    equal(mine.stdout.replace("emu-img", "qemu-img"), theirs.stdout, f"{command} {arguments}")
    equal(mine.returncode, theirs.returncode, f"exit status of {command} {arguments}")


def layers(path, program):
    """Of the map only which layer has what: emu-img splits further, at holes of the file below a cluster."""
    merged = []
    for entry in parsed(program, "map", "--output=json", path):
        kind = (entry["depth"], entry["present"])
        if merged and merged[-1][0] == kind:
            merged[-1][1] += entry["length"]
        else:
            merged.append([kind, entry["length"]])
    return merged


def read_alike(path, holes=False):
    """check, info and map of one image by both programs."""
    # qemu-img numbers the members of a report as its hash does; the objects are compared.
    equal(parsed("emu-img", "check", "--output=json", path), parsed("qemu-img", "check", "--output=json", path), "check")
    same_output("check", path)
    same_info(path)
    equal(layers(path, "emu-img"), layers(path, "qemu-img"), "layers")
    if holes:
        return
    theirs = parsed("qemu-img", "map", "--output=json", path)
    mine = parsed("emu-img", "map", "--output=json", path)
    if theirs and "compressed" not in theirs[0]:  # Before 8.2.
        mine = [{key: value for key, value in entry.items() if key != "compressed"} for entry in mine]
    equal(mine, theirs, "map")
    if not re.search(r'"compressed": true', output("qemu-img", "map", "--output=json", path)):
        same_output("map", path)


def converted(options, *flags):
    blocks("disk.raw")
    run("qemu-img", "convert", *flags, "-O", "qcow2", "-o", options, "disk.raw", "image.qcow2")
    run("emu-img", "compare", "-f", "raw", "-F", "qcow2", "disk.raw", "image.qcow2")
    read_alike("image.qcow2")
    run("emu-img", "convert", "-O", "raw", "image.qcow2", "back.raw")
    run("cmp", "disk.raw", "back.raw")


@check_each(*(512 << i for i in range(13)))
def an_image_with_cluster_size(size):
    converted(f"cluster_size={size}")


@check_each(*(1 << i for i in range(7)))
def an_image_with_refcount_bits(bits):
    converted(f"refcount_bits={bits},cluster_size=4k")


@check_each("compat=0.10", "compat=1.1", "lazy_refcounts=on", "extended_l2=on,cluster_size=16k",
            "extended_l2=on,cluster_size=128k", "extended_l2=on,lazy_refcounts=on", "compression_type=zstd")
def an_image_with_feature(options):
    converted(options)


@check_each(("zlib", "64k"), ("zlib", "4k"), ("zlib", "2M"), ("zstd", "64k"), ("zstd", "4k"), ("zstd", "2M"))
def a_compressed_image(method, size):
    converted(f"compression_type={method},cluster_size={size}", "-c")


@check_each(*((mode, size) for mode in PREALLOCATION for size in ("64k", "4k")))
def a_preallocated_image(mode, size):
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"preallocation={mode},cluster_size={size}", "i.qcow2", "24M")
    read_alike("i.qcow2", holes=True)
    run("qemu-io", "-c", "write -P 5 1M 100k", "i.qcow2")
    read_alike("i.qcow2", holes=True)


@check_each("discard 0 1M", "write -z 256k 1M", "write -z -u 256k 1M", "write -P 3 3000 5000", "truncate 9M",
            "write -P 1 8191k 1k")
def an_image_changed_by(command):
    blocks("disk.raw")
    run("qemu-img", "convert", "-O", "qcow2", "disk.raw", "i.qcow2")
    run("qemu-io", "-c", command, "i.qcow2")
    run("qemu-img", "convert", "-O", "raw", "i.qcow2", "now.raw")
    run("emu-img", "compare", "now.raw", "i.qcow2")
    read_alike("i.qcow2")


@check
def zeroes_and_data_within_clusters_of_extended_l2():
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", "i.qcow2", "4M")
    run("qemu-io", "-c", "write -P 1 4k 4k", "-c", "write -z 16k 8k", "-c", "write -P 2 1M 128k", "-c",
        "write -z -u 1028k 64k", "-c", "discard 2M 64k", "i.qcow2")
    run("qemu-img", "convert", "-O", "raw", "i.qcow2", "now.raw")
    run("emu-img", "compare", "now.raw", "i.qcow2")
    read_alike("i.qcow2", holes=True)


@check_each(("qcow2", "64k"), ("qcow2", "4k"), ("raw", ""))
def a_backing_chain(base_format, size):
    options = ("-o", f"cluster_size={size}") if size else ()
    blocks("disk.raw")
    run("qemu-img", "convert", "-O", base_format, *options, "disk.raw", "base")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", base_format, "mid.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=16k", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
    run("qemu-io", "-c", "write -P 9 64k 128k", "-c", "write -z 5M 1M", "mid.qcow2")
    run("qemu-io", "-c", "write -P 10 3000 4k", "-c", "discard 0 16k", "top.qcow2")
    run("qemu-img", "convert", "-O", "raw", "top.qcow2", "flat.raw")
    run("emu-img", "compare", "flat.raw", "top.qcow2")
    run("emu-img", "convert", "-O", "raw", "top.qcow2", "ours.raw")
    run("cmp", "flat.raw", "ours.raw")
    for name in ("mid.qcow2", "top.qcow2"):
        read_alike(name, holes=True)
    same_info("top.qcow2", "--backing-chain")


@check
def an_image_with_internal_snapshots():
    blocks("disk.raw")
    run("qemu-img", "convert", "-O", "qcow2", "disk.raw", "i.qcow2")
    run("qemu-img", "snapshot", "-c", "first", "i.qcow2")
    run("qemu-io", "-c", "write -P 9 0 3M", "i.qcow2")
    run("qemu-img", "snapshot", "-c", "second", "i.qcow2")
    run("qemu-io", "-c", "write -P 8 64k 1M", "i.qcow2")
    run("qemu-img", "convert", "-O", "raw", "i.qcow2", "now.raw")
    run("emu-img", "compare", "now.raw", "i.qcow2")
    read_alike("i.qcow2")


@check
def an_image_with_bitmaps():
    run("qemu-img", "create", "-q", "-f", "qcow2", "i.qcow2", "8M")
    run("qemu-img", "bitmap", "--add", "-g", "64k", "i.qcow2", "b0")
    run("qemu-img", "bitmap", "--add", "--disable", "i.qcow2", "b1")
    run("qemu-io", "-c", "write -P 9 0 3M", "i.qcow2")
    same_output("check", "i.qcow2")
    run("qemu-img", "convert", "-O", "raw", "i.qcow2", "now.raw")
    run("emu-img", "compare", "now.raw", "i.qcow2")


@check_each("-s 1M -l 3M", "-s 1536k", "-l 64k", "-s 512")
def map_of_a_part(arguments):
    needs("qemu-img", 10)
    blocks("disk.raw")
    run("qemu-img", "convert", "-O", "qcow2", "disk.raw", "i.qcow2")
    for path in ("i.qcow2", "disk.raw"):
        for form in ("json", "human"):
            same_output("map", f"--output={form}", *arguments.split(), path)


@check
def info_in_words():
    needs("qemu-img", 10)
    blocks("base.raw")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "top.qcow2")
    run("qemu-io", "-c", "write -P 9 0 3M", "top.qcow2")
    run("qemu-img", "snapshot", "-c", "first", "top.qcow2")
    same_output("info", "base.raw")
    same_output("info", "top.qcow2")
    same_output("info", "--backing-chain", "top.qcow2")


@check
def the_same_files_compare_alike():
    blocks("disk.raw")
    run("qemu-img", "convert", "-O", "qcow2", "disk.raw", "same.qcow2")
    run("qemu-img", "convert", "-O", "qcow2", "disk.raw", "other.qcow2")
    run("qemu-io", "-c", "write -P 9 5M 1k", "other.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "disk.raw", "-F", "raw", "longer.qcow2", "9M")
    run("qemu-io", "-c", "write -z 1M 64k", "same.qcow2")
    for name in ("same.qcow2", "other.qcow2", "longer.qcow2"):
        same_output("compare", "disk.raw", name)
        same_output("compare", "-s", "disk.raw", name)
        same_output("compare", name, "disk.raw")
    run("qemu-io", "-f", "raw", "-c", "truncate 12M", "-c", "write -P 1 11M 4k", "disk.raw")
    same_output("compare", "disk.raw", "same.qcow2")


if __name__ == "__main__":
    main()
