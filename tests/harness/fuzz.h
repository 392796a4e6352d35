/* The entry of a fuzzer. It returns 0 always; a finding is an abort. */
#ifndef EMU_TESTS_HARNESS_FUZZ_H
#define EMU_TESTS_HARNESS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
