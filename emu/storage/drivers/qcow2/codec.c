/* zlib and zstd for one cluster. */

#include "emu/storage/drivers/qcow2/codec.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { DEFLATE_WINDOW_BITS = 12, INFLATE_WINDOW_BITS = 15, DEFLATE_MEM_LEVEL = 9 };

static int inflate_cluster(const struct qcow2_codec *codec)
{
    z_stream stream = { 0 };
    int ret;

    if (inflateInit2(&stream, -INFLATE_WINDOW_BITS) != Z_OK)
        return -ENOMEM;
    stream.next_in = (Bytef *)codec->in;
    stream.avail_in = (uInt)codec->in_len;
    stream.next_out = codec->out;
    stream.avail_out = (uInt)codec->out_len;
    ret = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    /* The output may be complete before the end mark was seen. */
    if ((ret == Z_STREAM_END || ret == Z_BUF_ERROR) && stream.avail_out == 0)
        return 0;
    return -EIO;
}

static int unzstd_cluster(const struct qcow2_codec *codec)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = { codec->in, codec->in_len, 0 };
    ZSTD_outBuffer out = { codec->out, codec->out_len, 0 };
    int result = -EIO;

    if (!stream)
        return -ENOMEM;
    for (;;) {
        size_t in_before = in.pos, out_before = out.pos;
        size_t ret = ZSTD_decompressStream(stream, &out, &in);

        if (ZSTD_isError(ret))
            break;
        if (ret == 0 || out.pos == out.size) {
            result = out.pos == out.size ? 0 : -EIO;
            break;
        }
        if (in.pos == in_before && out.pos == out_before)
            break; /* Truncated. */
    }
    ZSTD_freeDStream(stream);
    return result;
}

int64_t qcow2_codec_decompress(void *arg)
{
    const struct qcow2_codec *codec = arg;

    return codec->type == QCOW2_ZSTD ? unzstd_cluster(codec) : inflate_cluster(codec);
}

static int64_t deflate_cluster(const struct qcow2_codec *codec)
{
    z_stream stream = { 0 };
    int64_t result;
    int ret;

    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -DEFLATE_WINDOW_BITS,
                     DEFLATE_MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    stream.next_in = (Bytef *)codec->in;
    stream.avail_in = (uInt)codec->in_len;
    stream.next_out = codec->out;
    stream.avail_out = (uInt)codec->out_len;
    ret = deflate(&stream, Z_FINISH);
    result = ret == Z_STREAM_END ? (int64_t)(codec->out_len - stream.avail_out)
             : ret == Z_OK       ? -ENOSPC
                                 : -EIO;
    deflateEnd(&stream);
    return result;
}

int64_t qcow2_codec_compress(void *arg)
{
    const struct qcow2_codec *codec = arg;
    size_t ret;

    if (codec->type == QCOW2_ZLIB)
        return deflate_cluster(codec);
    ret = ZSTD_compress(codec->out, codec->out_len, codec->in, codec->in_len, ZSTD_CLEVEL_DEFAULT);
    /* The only ways to fail are too little room and memory; in both the cluster is stored as it is. */
    return ZSTD_isError(ret) ? -ENOSPC : (int64_t)ret;
}
