#include "emu/reactor/sim_disk.h"

#include <string.h>

#include "emu/base/alloc.h"
#include "emu/base/check.h"

struct sim_disk *sim_disk_new(const char *path, uint64_t ino)
{
    struct sim_disk *disk = NEW(struct sim_disk);

    disk->refs = 1;
    disk->path = xstrdup(path);
    disk->max_size = UINT64_MAX;
    disk->ino = ino;
    return disk;
}

struct sim_disk *sim_disk_ref(struct sim_disk *disk)
{
    disk->refs++;
    return disk;
}

static void page_unref(struct sim_page *page)
{
    if (!page || --page->refs > 0)
        return;
    xfree(page->durable);
    xfree(page);
}

void sim_disk_unref(struct sim_disk *disk)
{
    void *page;

    if (!disk || --disk->refs > 0)
        return;
    for (size_t pos = 0; idmap_next(&disk->pages, &pos, NULL, &page);)
        page_unref(page);
    idmap_fini(&disk->pages);
    vec_fini(&disk->dirty_pages);
    vec_fini(&disk->locks);
    xfree(disk->path);
    xfree(disk);
}

void sim_disk_read(const struct sim_disk *disk, uint64_t off, struct iov_view to, uint64_t len)
{
    while (len > 0) {
        uint64_t at = off % SIM_PAGE, n = MIN(len, SIM_PAGE - at);
        const struct sim_page *page = idmap_get(&disk->pages, off / SIM_PAGE);

        if (page)
            iov_copy_to(to, n, page->data + at);
        else
            iov_fill(to, n, 0);
        to = iov_view_advance(to, n);
        off += n;
        len -= n;
    }
}

static struct sim_page *page_clone(const struct sim_page *page)
{
    struct sim_page *clone = xmemdup(page, sizeof(*page));

    clone->refs = 1;
    if (page->durable)
        clone->durable = xmemdup(page->durable, SIM_PAGE);
    return clone;
}

/* The page for changing: made when it is not there, copied when another world has it too. */
static struct sim_page *own_page(struct sim_disk *disk, uint64_t index)
{
    struct sim_page *page = idmap_get(&disk->pages, index);

    if (!page) {
        page = NEW(struct sim_page);
        page->refs = 1;
        page->hole = true;
        idmap_put(&disk->pages, index, page);
    } else if (page->refs > 1) {
        page->refs--;
        page = page_clone(page);
        idmap_put(&disk->pages, index, page);
    }
    return page;
}

/* Bytes [at, at+n) of the page are about to change: keeps their durable content aside. */
static void page_dirty(struct sim_disk *disk, struct sim_page *page, uint64_t index, uint64_t at,
                       uint64_t n)
{
    if (!page->dirty) {
        vec_push(&disk->dirty_pages, index);
        if (!page->durable)
            page->durable = xmemdup(page->data, SIM_PAGE);
        else
            memcpy(page->durable, page->data, SIM_PAGE);
    }
    for (uint64_t s = at / SIM_SECTOR; s <= (at + n - 1) / SIM_SECTOR; s++) {
        uint8_t bit = (uint8_t)BIT(s);

        if (!(page->dirty & bit)) {
            memcpy(page->durable + s * SIM_SECTOR, page->data + s * SIM_SECTOR, SIM_SECTOR);
            page->gen[s] = disk->gen;
        } else if (page->lost & bit) {
            page->gen[s] = disk->gen;
        }
        page->dirty |= bit;
        page->lost &= (uint8_t)~bit;
    }
}

void sim_disk_write(struct sim_disk *disk, uint64_t off, struct iov_view from, uint64_t len)
{
    disk->gen++;
    if (len > 0 && off + len > disk->size)
        disk->size = off + len;
    while (len > 0) {
        uint64_t at = off % SIM_PAGE, n = MIN(len, SIM_PAGE - at);
        struct sim_page *page = own_page(disk, off / SIM_PAGE);

        page_dirty(disk, page, off / SIM_PAGE, at, n);
        page->hole = false;
        iov_copy_from(from, n, page->data + at);
        from = iov_view_advance(from, n);
        off += n;
        len -= n;
    }
}

void sim_disk_zero(struct sim_disk *disk, uint64_t off, uint64_t len, bool punch)
{
    disk->gen++;
    while (len > 0) {
        uint64_t at = off % SIM_PAGE, n = MIN(len, SIM_PAGE - at);

        if (idmap_has(&disk->pages, off / SIM_PAGE) || !punch) {
            struct sim_page *page = own_page(disk, off / SIM_PAGE);

            page_dirty(disk, page, off / SIM_PAGE, at, n);
            memset(page->data + at, 0, n);
            if (!punch)
                page->hole = false;
            else if (n == SIM_PAGE)
                page->hole = true;
        }
        off += n;
        len -= n;
    }
}

void sim_disk_reserve(struct sim_disk *disk, uint64_t off, uint64_t len)
{
    for (uint64_t p = off / SIM_PAGE; len > 0 && p <= (off + len - 1) / SIM_PAGE; p++)
        own_page(disk, p)->hole = false;
    if (off + len > disk->size)
        disk->size = off + len;
}

void sim_disk_truncate(struct sim_disk *disk, uint64_t size)
{
    uint64_t old = disk->size;

    if (size < old)
        sim_disk_zero(disk, size, old - size, true);
    disk->gen++;
    disk->size = size;
}

void sim_disk_sync(struct sim_disk *disk, uint64_t gen)
{
    size_t kept = 0;

    for (size_t i = 0; i < vec_len(&disk->dirty_pages); i++) {
        uint64_t index = vec_at(&disk->dirty_pages, i);
        struct sim_page *page = own_page(disk, index);

        for (unsigned s = 0; s < SIM_PAGE_SECTORS; s++) {
            if (!(page->dirty & BIT(s)) || page->gen[s] > gen || (page->lost & BIT(s)))
                continue;
            page->dirty &= (uint8_t)~BIT(s);
        }
        if (page->dirty)
            vec_at(&disk->dirty_pages, kept++) = index;
    }
    while (vec_len(&disk->dirty_pages) > kept)
        (void)vec_pop(&disk->dirty_pages);
    disk->durable_size = disk->size;
}

void sim_disk_lose(struct sim_disk *disk)
{
    for (size_t i = 0; i < vec_len(&disk->dirty_pages); i++) {
        struct sim_page *page = own_page(disk, vec_at(&disk->dirty_pages, i));

        page->lost = page->dirty;
    }
}

static bool is_data(const struct sim_disk *disk, uint64_t index)
{
    const struct sim_page *page = idmap_get(&disk->pages, index);

    return page && !page->hole;
}

bool sim_disk_extent(const struct sim_disk *disk, uint64_t off, uint64_t *end)
{
    uint64_t index = off / SIM_PAGE, pages = disk->size / SIM_PAGE + 1;
    bool data = is_data(disk, index);

    /* A huge hole is found by its end in the table, not page by page. */
    if (!data) {
        uint64_t next = UINT64_MAX, key;
        void *value;

        for (size_t pos = 0; idmap_next(&disk->pages, &pos, &key, &value);) {
            if (key > index && key < next && !((struct sim_page *)value)->hole)
                next = key;
        }
        *end = next == UINT64_MAX ? disk->size : MIN(next * SIM_PAGE, disk->size);
        return false;
    }
    while (index < pages && is_data(disk, index))
        index++;
    *end = MIN(index * SIM_PAGE, disk->size);
    return true;
}

uint64_t sim_disk_allocated(const struct sim_disk *disk)
{
    uint64_t bytes = 0;
    void *page;

    for (size_t pos = 0; idmap_next(&disk->pages, &pos, NULL, &page);)
        bytes += ((struct sim_page *)page)->hole ? 0 : SIM_PAGE;
    return bytes;
}

/* The page with each unflushed sector kept or lost. */
static struct sim_page *crash_page(struct sim_page *page, struct rng *rng)
{
    struct sim_page *after;

    if (!page->dirty) {
        page->refs++;
        return page;
    }
    after = page_clone(page);
    for (unsigned s = 0; s < SIM_PAGE_SECTORS; s++) {
        if (!(page->dirty & BIT(s)) || (!(page->lost & BIT(s)) && rng_chance(rng, 1, 2)))
            continue;
        memcpy(after->data + s * SIM_SECTOR, page->durable + s * SIM_SECTOR, SIM_SECTOR);
    }
    if (!mem_is_zero(after->data, SIM_PAGE))
        after->hole = false;
    after->dirty = after->lost = 0;
    xfree(after->durable);
    after->durable = NULL;
    return after;
}

struct sim_disk *sim_disk_crash_copy(const struct sim_disk *disk, struct rng *rng)
{
    struct sim_disk *copy = sim_disk_new(disk->path, disk->ino);
    uint64_t index;
    void *page;

    copy->max_size = disk->max_size;
    copy->size = rng_chance(rng, 1, 2) ? disk->size : disk->durable_size;
    for (size_t pos = 0; idmap_next(&disk->pages, &pos, &index, &page);)
        idmap_put(&copy->pages, index, crash_page(page, rng));
    if (copy->size < disk->size)
        sim_disk_zero(copy, copy->size, disk->size - copy->size, true);
    sim_disk_sync(copy, copy->gen);
    return copy;
}
