"""Disks that the checks fill, and what is said of images."""

from harness import equal, parsed

MIB = 1 << 20


def pattern(path, size=8 * MIB):
    """A disk with data, holes, zeroes that were written, and an end that no cluster size divides."""
    with open(path, "wb") as file:
        for offset, byte, length in ((0, 0x11, 70000), (1 * MIB, 0, 65536), (3 * MIB + 512, 0x33, 1536),
                                     (5 * MIB, 0x55, MIB + 4096), (size - 512, 0x77, 512)):
            file.seek(offset)
            file.write(bytes([byte]) * length)
        file.truncate(size)


def blocks(path):
    """A disk of 8 MiB with data in whole 2 MiB, so that no cluster holds a hole: emu-img tells of holes in the file
    below a cluster, where qemu-img does not look."""
    with open(path, "wb") as file:
        for offset, byte in ((0, 0x11), (4 * MIB, 0x55)):
            file.seek(offset)
            file.write(bytes([byte]) * (2 * MIB))
        file.truncate(8 * MIB)


def same_info(path, *options):
    """qemu-img says the same as emu-img of one image, member for member."""
    theirs = parsed("qemu-img", "info", "--output=json", *options, path)
    mine = parsed("emu-img", "info", "--output=json", *options, path)
    # 7.2 tells neither the children nor some later members; what it does tell must be there and equal.
    if isinstance(theirs, dict):
        theirs, mine = [theirs], [mine]
    equal(len(mine), len(theirs), "images in the chain")
    for ours, reference in zip(mine, theirs):
        equal({key: ours.get(key) for key in reference}, reference, f"info of {path}")
