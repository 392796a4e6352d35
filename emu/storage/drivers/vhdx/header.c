/* Identifiers and checksums of the format, and writing the header. */

#include <errno.h>
#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/bytes.h"
#include "emu/base/hash.h"
#include "emu/storage/drivers/vhdx/vhdx.h"

/* In the byte order of the file. */
const uint8_t vhdx_guid_bat[] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                  0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
const uint8_t vhdx_guid_metadata[] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                       0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
const uint8_t vhdx_guid_file_parameters[] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                              0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b };
const uint8_t vhdx_guid_disk_size[] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                        0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 };
const uint8_t vhdx_guid_page83[] = { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
                                     0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46 };
const uint8_t vhdx_guid_logical_sector[] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                             0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f };
const uint8_t vhdx_guid_physical_sector[] = { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
                                              0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56 };

uint32_t vhdx_checksum(const uint8_t *bytes, uint64_t len, uint64_t skip)
{
    static const uint8_t zero[4];
    uint32_t crc = crc32c(0, bytes, skip);

    crc = crc32c(crc, zero, sizeof(zero));
    return crc32c(crc, bytes + skip + 4, len - skip - 4);
}

static void header_flushed(struct req *req);
static void header_written(struct req *req);

static void header_end(struct vhdx *v, int result)
{
    v->header_done(v->header_arg,
                   result ? err_new_errno(result, "Could not write VHDX header") : NULL);
}

static void header_submit(struct vhdx *v, enum req_kind kind, uint64_t offset, req_done_fn *done)
{
    v->iov = (struct iovec){ v->header, VHDX_HEADER_LEN };
    v->req = (struct req){ 0 };
    req_submit_part(&v->req, v->sparse.file, kind, 0, offset,
                    kind == REQ_WRITE ? VHDX_HEADER_LEN : 0, iov_view(&v->iov, kind == REQ_WRITE),
                    done);
}

static void header_settled(struct req *req)
{
    header_end(container_of(req, struct vhdx, req), req->result);
}

static void header_written(struct req *req)
{
    struct vhdx *v = container_of(req, struct vhdx, req);

    if (req->result) {
        header_end(v, req->result);
        return;
    }
    v->current = !v->current;
    header_submit(v, REQ_FLUSH, 0, header_settled);
}

static void header_flushed(struct req *req)
{
    struct vhdx *v = container_of(req, struct vhdx, req);

    if (req->result) {
        header_end(v, req->result);
        return;
    }
    store_le64(v->header + VHDX_HDR_SEQUENCE, load_le64(v->header + VHDX_HDR_SEQUENCE) + 1);
    store_le32(v->header + VHDX_HDR_CHECKSUM,
               vhdx_checksum(v->header, VHDX_HEADER_LEN, VHDX_HDR_CHECKSUM));
    header_submit(v, REQ_WRITE, v->current ? VHDX_HEADER1 : VHDX_HEADER2, header_written);
}

void vhdx_header_write(struct vhdx *v, driver_done_fn *done, void *arg)
{
    v->header_done = done;
    v->header_arg = arg;
    header_submit(v, REQ_FLUSH, 0, header_flushed);
}
